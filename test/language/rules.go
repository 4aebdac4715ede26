package main

import (
	_ "embed"
	"fmt"
	"path"
	"regexp"
	"strings"
)

//go:embed retired.txt
var retired string

//go:embed exceptions.txt
var exceptionList string

// rules are the retired expressions. any matches where one of them does: most
// text has none, and one pass is much faster than one for each.
type rules struct {
	list  []rule
	any   *regexp.Regexp
	clean map[string]bool // lines without a match; most identifiers occur often
}

// none reports whether no expression matches a line, as it stands and parted.
func (r rules) none(line string) bool {
	if r.clean[line] {
		return true
	}
	none := !r.any.MatchString(line) && !r.any.MatchString(part(line))
	if none {
		r.clean[line] = true
	}
	return none
}

// rule is one retired expression.
type rule struct {
	match *regexp.Regexp
	use   string
}

func parseRules(list string) (rules, error) {
	r := rules{clean: map[string]bool{}}
	var all []string
	for _, line := range entries(list) {
		expression, rest, ok := strings.Cut(line, " => ")
		if !ok {
			return r, fmt.Errorf("retired.txt: no => in %q", line)
		}
		match, err := regexp.Compile("(?i)" + expression)
		if err != nil {
			return r, fmt.Errorf("retired.txt: %w", err)
		}
		use, _, _ := strings.Cut(rest, " ! ")
		r.list = append(r.list, rule{match, use})
		all = append(all, expression)
	}
	var err error
	r.any, err = regexp.Compile("(?i)" + strings.Join(all, "|"))
	return r, err
}

// exception is text that is no finding in the files that a pattern names.
type exception struct {
	files string // as path.Match reads it, or a folder with a slash at its end, or *
	text  *regexp.Regexp
}

func parseExceptions(list string) ([]exception, error) {
	var exceptions []exception
	for _, line := range entries(list) {
		fields := strings.SplitN(line, "\t", 3)
		if len(fields) != 3 || strings.TrimSpace(fields[2]) == "" {
			return nil, fmt.Errorf("exceptions.txt: %q is not FILES<tab>EXPRESSION<tab>REASON", line)
		}
		text, err := regexp.Compile(fields[1])
		if err != nil {
			return nil, fmt.Errorf("exceptions.txt: %w", err)
		}
		exceptions = append(exceptions, exception{fields[0], text})
	}
	return exceptions, nil
}

func (e exception) covers(file string) bool {
	if e.files == "*" || (strings.HasSuffix(e.files, "/") && strings.HasPrefix(file, e.files)) {
		return true
	}
	ok, err := path.Match(e.files, file)
	return err == nil && ok
}

func entries(list string) []string {
	var lines []string
	for line := range strings.Lines(list) {
		line = strings.TrimRight(line, "\n")
		if line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}
