# shellcheck shell=bash
# Container images without a container engine. Sourced, never run.

# docker_archive REF ROOT OUT ENTRYPOINT...  packs the folder ROOT as the only layer of
# the image REF into OUT, as `docker save` does and `ctr images import` reads: the
# layer, a configuration with the command, and manifest.json that names both. The same
# ROOT gives the same bytes.
docker_archive() {
	local ref=$1 root=$2 out=$3 entry layer config dir
	shift 3
	entry=$(jq -cn '$ARGS.positional' --args "$@")
	dir=$(mktemp -d)
	tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=gnu -C "$root" -cf "$dir/layer.tar" .
	layer=$(sha256sum "$dir/layer.tar" | cut -d ' ' -f 1)
	mkdir "$dir/$layer"
	mv "$dir/layer.tar" "$dir/$layer/layer.tar"
	jq -cn --arg diff "sha256:$layer" --argjson entry "$entry" '{
		architecture: "amd64", os: "linux", created: "1970-01-01T00:00:00Z",
		config: {Entrypoint: $entry, WorkingDir: "/",
			Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
		rootfs: {type: "layers", diff_ids: [$diff]},
		history: [{created: "1970-01-01T00:00:00Z"}]}' | tr -d '\n' >"$dir/config.json"
	config=$(sha256sum "$dir/config.json" | cut -d ' ' -f 1).json
	mv "$dir/config.json" "$dir/$config"
	jq -cn --arg config "$config" --arg ref "$ref" --arg layer "$layer/layer.tar" \
		'[{Config: $config, RepoTags: [$ref], Layers: [$layer]}]' >"$dir/manifest.json"
	tar --mtime=@0 --owner=0 --group=0 --numeric-owner --format=gnu --mode=a+rX -C "$dir" \
		-cf "$out.new" manifest.json "$config" "$layer"
	mv "$out.new" "$out"
	rm -rf "$dir"
}
