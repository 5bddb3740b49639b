// Package codec holds benchmarks of package transcode: against protojson over dynamic and over
// generated messages, against hyperpb with protojson, and against sonic on plain structs, which is
// about as fast as JSON itself gets in Go.
//
// run.sh runs them and prints the ratios. Nothing here asserts a time.
package codec
