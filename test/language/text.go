package main

import (
	"go/scanner"
	"go/token"
	"regexp"
	"strings"
)

// text is lines that belong together, the first of which has a number.
type text struct {
	line  int
	lines []string
}

// search looks at each line together with the next, so that an expression
// that a line break parts is found, as it stands and with its words parted.
func (t text) search(file string, rules rules, allowed []*regexp.Regexp) []finding {
	var findings []finding
	for i, line := range t.lines {
		next := ""
		if i+1 < len(t.lines) {
			next = strings.TrimLeft(t.lines[i+1], " \t>*-")
		}
		if rules.none(strings.TrimSpace(line + " " + next)) {
			continue
		}
		first := blank(strings.TrimRight(line, " \t"), allowed)
		both := first
		if next != "" {
			both = blank(strings.TrimRight(line, " \t")+" "+next, allowed)
			first = both[:len(first)]
		}
		for _, form := range []struct{ first, both string }{{first, both}, {part(first), part(both)}} {
			for _, r := range rules.list {
				if at := r.match.FindStringIndex(form.both); at != nil && at[0] < len(form.first) {
					findings = append(findings, finding{file, t.line + i, strings.ToLower(form.both[at[0]:at[1]]), r.use})
				}
			}
		}
	}
	return findings
}

// blank replaces what is allowed by underscores, each of which parts words.
func blank(s string, allowed []*regexp.Regexp) string {
	for _, a := range allowed {
		s = a.ReplaceAllStringFunc(s, func(m string) string { return strings.Repeat("\x00", len(m)) })
	}
	return s
}

var caseChange = regexp.MustCompile(`([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])`)

// part writes giveBack, give-back, and give_back as "give back".
func part(s string) string {
	if !strings.ContainsAny(s, "-_ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		return s
	}
	s = caseChange.ReplaceAllString(s, "$1$3 $2$4")
	return strings.NewReplacer("-", " ", "_", " ").Replace(s)
}

// goTexts returns the identifiers, comments, and string literals of a Go file,
// without import paths and struct tags. Adjacent line comments are one text.
func goTexts(name, source string) ([]text, error) {
	fset := token.NewFileSet()
	file := fset.AddFile(name, -1, len(source))
	var s scanner.Scanner
	var failure error
	s.Init(file, []byte(source), func(pos token.Position, msg string) {
		failure = &scanner.Error{Pos: pos, Msg: msg}
	}, scanner.ScanComments)
	var texts []text
	importing, previous := false, token.ILLEGAL
	commentEnd := -1
	for {
		pos, tok, literal := s.Scan()
		if tok == token.EOF {
			return texts, failure
		}
		line := file.Line(pos)
		switch tok {
		case token.IMPORT:
			importing = true
		case token.TYPE, token.FUNC, token.VAR, token.CONST:
			importing = false
		case token.IDENT:
			texts = append(texts, text{line, []string{literal}})
		case token.STRING, token.CHAR:
			afterType := previous == token.IDENT || previous == token.RBRACK || previous == token.RBRACE || previous == token.MUL
			tag := afterType && strings.HasPrefix(literal, "`") && strings.Contains(literal, `:"`)
			if !importing && !tag {
				texts = append(texts, text{line, strings.Split(literal, "\n")})
			}
		case token.COMMENT:
			lines := strings.Split(strings.TrimSuffix(literal, "*/"), "\n")
			for i := range lines {
				lines[i] = strings.TrimLeft(lines[i], "/* \t")
			}
			if line == commentEnd+1 && len(texts) > 0 {
				last := &texts[len(texts)-1]
				last.lines = append(last.lines, lines...)
			} else {
				texts = append(texts, text{line, lines})
			}
			commentEnd = line + len(lines) - 1
			continue
		default: // other tokens have no text
		}
		if tok != token.SEMICOLON || literal != "\n" {
			previous = tok
			commentEnd = -1
		}
	}
}
