// Package notice has the check that NOTICE lists the files that are embedded in what users run, and
// no others.
package notice
