# shellcheck shell=sh
# Laid over the image by demo/nodes.yaml.
export EDITOR=nano
