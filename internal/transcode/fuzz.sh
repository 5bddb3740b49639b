#!/usr/bin/env bash
# Fuzzes package transcode against its oracle.
#
# usage: fuzz.sh [SECONDS]   60 by default, shared by all targets
#
# The fuzz targets run on one core each in turn, and so does the differential test with cases of new seeds. What is found is
# written to testdata/fuzz, and from then on part of go test.
set -euo pipefail

seconds=${1:-60}
cd "$(dirname "${BASH_SOURCE[0]}")"
mapfile -t targets < <(grep -ho '^func Fuzz[A-Za-z]*' ./*_test.go | sed 's/func //' | sort)
share=$((seconds / (${#targets[@]} + 1)))
((share > 0)) || share=1

go test -count 1 -run '^TestDifferential$' -diff.for "${share}s" .
for target in "${targets[@]}"; do
	go test -run '^$' -fuzz "^$target\$" -fuzztime "${share}s" -fuzzminimizetime 1s -parallel 2 .
done
