package yamldoc

import (
	"fmt"
	"strings"
)

// Suggestions are looked for where that is cheap: what is compared comes from
// the document, too.
const (
	maxWord       = 64
	maxCandidates = 256
)

// Suggest returns `; did you mean "…"?` with the candidate that a word is most
// likely a misspelling of, or nothing if none is near.
func Suggest(word string, candidates []string) string {
	if len(word) > maxWord || len(candidates) > maxCandidates {
		return ""
	}
	folded := fold(word)
	best, limit := "", len(word)/3+2
	for _, c := range candidates {
		other := fold(c)
		if len(other) > maxWord || abs(len(other)-len(folded)) >= limit {
			continue
		}
		if d := editDistance(folded, other); d < limit {
			best, limit = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// fold removes what people get wrong most: case, dashes, and underscores.
func fold(s string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s))
}

// editDistance is the number of bytes to insert, delete, or replace to make b
// of a (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func abs(n int) int { return max(n, -n) }
