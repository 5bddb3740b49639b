//go:build ignore

// Command commentwidth reports comments and lines of prose that are wider than 100 columns. It
// reads the names of the files from its standard input:
//
//	git ls-files | go run scripts/commentwidth.go
//
// It knows Go, .proto files, files whose comments begin with `#`, and Markdown. A tab counts four
// columns. In Markdown, tables and code blocks may be wider. So may a line that is one word, such
// as an address.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

const limit = 100

func main() {
	failed := false
	names := bufio.NewScanner(os.Stdin)
	for names.Scan() {
		name := names.Text()
		src, err := os.ReadFile(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		if isGenerated(src) {
			continue
		}
		for _, line := range wide(name, src) {
			failed = true
			fmt.Printf("%s:%d: the comment is wider than %d columns\n", name, line, limit)
		}
	}
	if failed {
		os.Exit(1)
	}
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

// wideGo asks Go's own scanner where the comments are, so that strings and comments behind code are
// seen as such.
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

// wideLines looks at lines that are nothing but a comment.
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
