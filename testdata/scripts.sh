#!/bin/bash
# scripts.sh   list the shell scripts of the repository: by their first line,
#              or by extension and a line that tells shellcheck the shell
#
# Prints the paths that git knows of (or would, were they added), one a line,
# relative to the working directory; `make lint` hands them to shellcheck.
set -euo pipefail
git ls-files -co --exclude-standard | while read -r file; do
	if [ ! -f "$file" ] || [ -L "$file" ]; then continue; fi
	line=$(head -c 64 "$file" | head -n 1 | tr -d '\0')
	case $line in
	'#!/bin/sh'* | '#!/bin/bash'* | '#!/usr/bin/env bash'* | '#!/usr/bin/env sh'*) echo "$file" ;;
	*) # what is sourced says for which shell it is
		case $file in *.sh | *.bash) ! grep -q '^# shellcheck shell=' "$file" || echo "$file" ;; esac
		;;
	esac
done
