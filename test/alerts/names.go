package alerts

import (
	"regexp"
	"slices"
)

var (
	quoted   = regexp.MustCompile(`"[^"]*"`)
	matchers = regexp.MustCompile(`\{[^}]*\}`)
	labels   = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`)
	word     = regexp.MustCompile(`\b([a-zA-Z_]\w*)(\s*\()?`)
	keywords = []string{"and", "or", "unless", "offset", "bool"}
)

// Names returns the names of the metrics that an expression reads, sorted.
func Names(expr string) []string {
	for _, leave := range []*regexp.Regexp{quoted, matchers, labels} {
		expr = leave.ReplaceAllString(expr, " ")
	}
	var names []string
	for _, m := range word.FindAllStringSubmatch(expr, -1) {
		if m[2] == "" && !slices.Contains(keywords, m[1]) {
			names = append(names, m[1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
