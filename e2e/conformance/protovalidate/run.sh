#!/usr/bin/env bash
# Runs protovalidate's official conformance suite, with the gateway's checks of request messages as the testee. Further arguments go to
# the suite, for example --verbose or --suite 'standard_rules/string'.
#
# There is no list of known failures: every case must pass, and there must be as many cases as the suite has.
set -euo pipefail
cd "$(dirname "$0")"
version=v1.2.2
cases=2872
bin=$(cd ../../.. && pwd)/.bin/conformance-protovalidate-$version
mkdir -p "$bin"
if [ ! -x "$bin/runner" ]; then
	# `go install` refuses the package, because its module has requirements that must be replaced. A module that requires it does not.
	(cd runner && GOFLAGS=-mod=mod go build -o "$bin/runner" github.com/bufbuild/protovalidate/tools/protovalidate-conformance)
fi
(cd ../.. && go build -o "$bin/testee" ./conformance/protovalidate)

status=0
out=$("$bin/runner" --timeout 5m "$@" "$bin/testee" 2>&1) || status=$?
if [ $status -ne 0 ]; then
	tail -n "${LINES_SHOWN:-200}" <<<"$out"
	exit $status
fi
tail -n 1 <<<"$out"
if [ $# -eq 0 ] && ! grep -q "passed: $cases, total: $cases)" <<<"$out"; then
	echo "the suite did not pass all of its $cases cases" >&2
	exit 1
fi
