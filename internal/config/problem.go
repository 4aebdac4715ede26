package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pai.dev/pai/internal/yamldoc"
)

// Problem is one mistake in a configuration, with its place.
type Problem = yamldoc.Problem

// Problems are the mistakes of a configuration, in reading order.
type Problems = yamldoc.Problems

// fileProblem is a problem of a whole file.
func fileProblem(path, message string) Problem {
	return Problem{File: path, Line: 1, Column: 1, Message: message}
}

// byFile puts the problems of several files in the order of the files.
func byFile(problems Problems) Problems {
	order := func(path string) int {
		for i, f := range files {
			if strings.HasSuffix(path, f) {
				return i
			}
		}
		if strings.HasSuffix(path, ClusterFile) {
			return 0
		}
		return len(files)
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return cmp.Compare(order(a.File), order(b.File)) })
	return problems
}

// listed puts each problem on a line below the text before it.
type listed struct{ Problems }

func (l listed) Error() string { return "\n" + l.Problems.Error() }
func (l listed) Unwrap() error { return l.Problems }

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
