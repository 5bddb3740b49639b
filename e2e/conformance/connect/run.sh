#!/usr/bin/env bash
# Runs the official Connect conformance suite (connectrpc.com/conformance) against the gateway in a real Caddy, in front of
# the suite's own servers. Further arguments go to the suite, for example --run '**/unary/**' or --trace. The environment variable
# OPTIONS has further options of the handler in the syntax of a Caddyfile. GATEWAY_TRANSPORT is the transport of the upstream.
#
# There is no list of known failures: every case must pass, and there must be as many cases as the suite has.
set -euo pipefail
cd "$(dirname "$0")"
version=v1.0.7
cases=4112
root=$(cd ../../.. && pwd)
bin=$root/.bin/conformance-$version
if [ ! -x "$bin/referenceserver" ]; then
	for tool in connectconformance grpcserver referenceserver; do
		GOBIN=$bin go install "connectrpc.com/conformance/cmd/$tool@$version"
	done
fi
(cd "$root" && go build -o .bin/caddy ./cmd/caddy)
go build -o "$bin/launcher" .
PROTO_DIR=$(go mod download -json "connectrpc.com/conformance@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')/proto
export CADDY=$root/.bin/caddy GRPCSERVER=$bin/grpcserver REFERENCESERVER=$bin/referenceserver PROTO_DIR

log=$(mktemp)
trap 'rm -f "$log"' EXIT

suite() {
	timeout 600 "$bin/connectconformance" --conf conf.yaml --mode server -p 8 "$@" -- "$bin/launcher" >"$log" 2>&1
}

# again runs cases that failed once more, if all of them are about timeouts and they are few. There the suite's client gives up at the
# very moment the gateway does, and takes an answer that its own deadline cut off for one that is malformed.
again() {
	local failed=()
	while read -r name; do failed+=(--run "$name"); done < <(sed -n 's/^FAILED: \(.*\):$/\1/p' "$log")
	if [ ${#failed[@]} -eq 0 ] || [ ${#failed[@]} -gt 4 ] || grep '^FAILED: ' "$log" | grep -qv '^FAILED: Timeouts/'; then
		return 1
	fi
	echo "once more, because client and gateway gave up at the same time: ${failed[*]}"
	suite "${failed[@]}"
}

status=0
suite "$@" || status=$?
total=$(grep '^Total cases:' "$log" || true)
if [ $status -ne 0 ] && again; then
	status=0
fi
if [ $status -ne 0 ]; then
	tail -n "${LINES_SHOWN:-200}" "$log"
	exit $status
fi
tail -n 3 "$log"
if [ $# -eq 0 ] && [ "$total" != "Total cases: $cases" ]; then
	echo "the suite did not run all of its $cases cases" >&2
	exit 1
fi
