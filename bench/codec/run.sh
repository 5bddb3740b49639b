#!/usr/bin/env bash
# Runs the benchmarks of package transcode and prints how they stand to those of other codecs. No time is asserted.
#
# usage: run.sh [ROUNDS [PATTERN]]
#   ROUNDS   how often each benchmark runs, 10 by default. All run once before any runs twice, so that a machine that is
#            slow for a while is so for all of them.
#   PATTERN  which benchmarks run, as for go test -bench
#
# The output of all runs is kept in bench/out/codec.txt, for benchstat.
set -euo pipefail

rounds=${1:-10}
pattern=${2:-.}

cd "$(dirname "${BASH_SOURCE[0]}")"
out=../out
mkdir -p "$out"
go test -c -o "$out/codec.test" .
"$out/codec.test" -test.run '^TestContendersAgree$'
: >"$out/codec.txt"
for ((round = 1; round <= rounds; round++)); do
	"$out/codec.test" -test.run '^$' -test.bench "$pattern" -test.benchtime 100ms -test.benchmem >>"$out/codec.txt"
	echo "round $round of $rounds" >&2
done
grep -E 'BenchmarkCompile.*ns/op' "$out/codec.txt" | tail -n 2 || true
go run ./ratios <"$out/codec.txt"
