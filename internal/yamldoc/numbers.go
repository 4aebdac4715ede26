package yamldoc

import (
	"fmt"
	"math"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// Programs read 0022, 0x16, 1_000, and 1:30 as different numbers, or as text. Only
// what they all read alike is a number here.
var (
	plainInteger = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)$`)
	plainNumber  = regexp.MustCompile(`^[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$`)
)

// Integer reads a whole number. If it is none, wrong completes "must be".
func Integer(n *yaml.Node) (value int64, wrong string) {
	const want = "a whole number"
	n = Resolve(n)
	switch {
	case !isNumber(n):
	case ambiguous(n):
		return 0, want + ", not " + ambiguity(n)
	case n.Tag == "!!int" && plainInteger.MatchString(n.Value) && n.Decode(&value) == nil:
		return value, ""
	}
	return 0, want + ", not " + Describe(n)
}

// Number is Integer for a number that can have a fraction and is finite.
func Number(n *yaml.Node) (value float64, wrong string) {
	const want = "a number"
	n = Resolve(n)
	switch {
	case !isNumber(n):
	case ambiguous(n):
		return 0, want + ", not " + ambiguity(n)
	case n.Decode(&value) == nil && !math.IsInf(value, 0) && !math.IsNaN(value):
		return value, ""
	}
	return 0, want + ", not " + Describe(n)
}

func isNumber(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.Tag == "!!int" || n.Tag == "!!float")
}

var special = regexp.MustCompile(`(?i)^[-+]?\.(inf|nan)$`)

func ambiguous(n *yaml.Node) bool {
	return !plainNumber.MatchString(n.Value) && !special.MatchString(n.Value)
}

func ambiguity(n *yaml.Node) string {
	return fmt.Sprintf("%s, which programs read as different numbers: write it in decimal digits, without leading zeros", Shorten(n.Value))
}
