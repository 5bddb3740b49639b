// Command commentwidth reports comments and lines of prose that are wider than 100 columns. It
// reads the names of the files from its standard input:
//
//	git ls-files '*.go' '*.md' | go run ./internal/lint/commentwidth
//
// The exit code is 1 if there is a line that is too wide, and 2 if a file cannot be read.
//
// It knows Go, .proto files, Markdown, and files whose comments begin with `#`. A tab counts four
// columns. Generated files are skipped. In Markdown, tables and code blocks may be wider. So may a
// line that is one word, such as an address.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"go/scanner"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

const limit = 100

func main() {
	found, err := check(os.Stdin, os.Stdout)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case found > 0:
		os.Exit(1)
	}
}

// check reads the names of files, writes a line about each line that is too wide, and counts them.
func check(names io.Reader, out io.Writer) (found int, _ error) {
	lines := bufio.NewScanner(names)
	for lines.Scan() {
		name := lines.Text()
		src, err := os.ReadFile(name)
		if err != nil {
			return found, err
		}
		if isGenerated(src) {
			continue
		}
		for _, line := range wide(name, src) {
			found++
			fmt.Fprintf(out, "%s:%d: the comment is wider than %d columns\n", name, line, limit)
		}
	}
	return found, lines.Err()
}

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

func isGenerated(src []byte) bool { return generated.Match(src[:min(len(src), 1<<10)]) }

// wide returns the numbers of the lines that are too wide.
func wide(name string, src []byte) []int {
	switch base := filepath.Base(name); {
	case strings.HasSuffix(base, ".go"):
		return wideGo(src)
	case strings.HasSuffix(base, ".md"):
		return wideMarkdown(src)
	case strings.HasSuffix(base, ".proto"):
		return wideLines(src, "//")
	default:
		return wideLines(src, "#")
	}
}

// wideGo asks Go's own scanner where the comments are. It tells them from strings, and finds those
// that follow code on the same line.
func wideGo(src []byte) (found []int) {
	lines := bytes.Split(src, []byte("\n"))
	var s scanner.Scanner
	file := token.NewFileSet().AddFile("", -1, len(src))
	s.Init(file, src, nil, scanner.ScanComments)
	for {
		pos, tok, text := s.Scan()
		if tok == token.EOF {
			return found
		}
		if tok != token.COMMENT || strings.HasPrefix(text, "//go:") || strings.HasPrefix(text, "//nolint") {
			continue
		}
		first := file.Line(pos)
		for i := range strings.Count(text, "\n") + 1 {
			if isWide(string(lines[first+i-1])) {
				found = append(found, first+i)
			}
		}
	}
}

// wideLines looks at lines that have only a comment.
func wideLines(src []byte, mark string) (found []int) {
	number := 0
	for line := range strings.SplitSeq(string(src), "\n") {
		number++
		if strings.HasPrefix(strings.TrimSpace(line), mark) && isWide(line) {
			found = append(found, number)
		}
	}
	return found
}

// wideMarkdown looks at prose: lists and paragraphs, not tables and code.
func wideMarkdown(src []byte) (found []int) {
	code, number := false, 0
	for line := range strings.SplitSeq(string(src), "\n") {
		number++
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "```"):
			code = !code
		case code || strings.HasPrefix(trimmed, "|") || strings.HasPrefix(trimmed, "!["):
		case isWide(line):
			found = append(found, number)
		}
	}
	return found
}

func isWide(line string) bool {
	line = strings.TrimRight(line, "\r")
	if utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    ")) <= limit {
		return false
	}
	words := strings.Fields(strings.TrimLeft(line, "/#*- \t"))
	return len(words) > 1
}
