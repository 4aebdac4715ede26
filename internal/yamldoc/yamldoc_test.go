package yamldoc

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

func TestParseLimits(t *testing.T) {
	t.Parallel()
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		bomb += fmt.Sprintf("a%d: &a%d [%s*a%d]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 9), i)
	}
	few := limits()
	manyAliases := few
	manyAliases.Aliases = 1 << 20
	none := few
	none.NoAnchors = true
	for _, c := range []struct {
		name, text string
		limits     Limits
		want       string
	}{
		{"size", strings.Repeat("#", 1<<16+1), few, "1:1: the document is larger than the limit of 65536 bytes"},
		{"depth", "a: " + strings.Repeat("[", 20) + strings.Repeat("]", 20), few, "1:11: nested deeper than the limit of 8 levels"},
		{"scalar", "a: " + strings.Repeat("x", 2000), few, "1:4: a value of 2000 bytes; the limit is 1024"},
		{"values", "a: [" + strings.Repeat("1,", 1001) + "1]", few, "1:1999: more values than the limit of 1000 (aliases followed)"},
		{"aliases", bomb, few, "more aliases than the limit of 16"},
		{"values through aliases", bomb, manyAliases, "more values than the limit of 1000 (aliases followed)"},
		{"alias of itself", "a: &a\n  - *a\n", few, "2:5: nested deeper than the limit of 8 levels"},
		{"anchor where none is accepted", "a: &a 1\n", none, "1:4: YAML anchors, aliases, and merge keys are not accepted here: write the value out"},
		{"merge key where none is accepted", "<<: {a: 1}\n", none, "1:1: YAML anchors, aliases, and merge keys are not accepted here: write the value out"},
		{"NUL character", `a: "x\0"`, few, "1:4: the value contains a NUL character"},
		{"encoding", "a: b\nc: \xff\xfe", few, "2:4: the document is not UTF-8 text: save it as UTF-8"},
		{"empty", "# nothing\n", few, "1:1: the document is empty"},
		{"null", "~\n", few, "1:1: the document is empty"},
		{"two documents", "a: 1\n---\nb: 2\n", few, "2:1: a second YAML document starts here: put everything into one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root, problems := Parse([]byte(c.text), c.limits)
			if root != nil || len(problems) != 1 || !strings.Contains(problems[0].String(), c.want) {
				t.Errorf("got %v, want %s", problems, c.want)
			}
		})
	}
}

func TestReportKeepsReadingOrderAndLimit(t *testing.T) {
	t.Parallel()
	r := NewReport(3)
	for _, line := range []int{7, 2, 2, 9, 1} {
		r.Problem(&yaml.Node{Line: line, Column: 1}, "a.b", "wrong")
		r.Note(&yaml.Node{Line: line, Column: 1}, "", "noted")
	}
	if got, want := r.Problems().In("x.yaml").Error(), "x.yaml:2:1: a.b: wrong\nx.yaml:7:1: a.b: wrong\nx.yaml: and 2 more"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := r.Notes().Error(), "2:1: noted\n7:1: noted"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !r.Full() || NewReport(0).Full() {
		t.Error("Full is wrong")
	}
}

func TestProblemQuotesLittleOfTheDocument(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	if p := ProblemAt(nil, long, "%s", long); len(p.Path) > 2000 || len(p.Message) > 2000 || p.Line != 0 {
		t.Errorf("path of %d bytes, message of %d", len(p.Path), len(p.Message))
	}
}

func TestFieldsMergesAndReports(t *testing.T) {
	t.Parallel()
	root, problems := Parse([]byte("base: &base {a: 1, b: 2}\nuse:\n  b: 3\n  <<: [*base, {c: 4}]\n  b: 5\n  [d]: 6\nbad:\n  <<: text\n"), limits())
	if problems != nil {
		t.Fatal(problems)
	}
	r := NewReport(0)
	var got []string
	for _, f := range Fields(root, r, "") {
		for _, inner := range Fields(f.Value, r, f.Key.Value) {
			got = append(got, f.Key.Value+"."+inner.Key.Value+"="+inner.Value.Value)
		}
	}
	if want := []string{"base.a=1", "base.b=2", "use.b=3", "use.a=1", "use.c=4"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	want := "5:3: use: duplicate key \"b\"; the first is on line 3\n6:3: use: a key must be plain text\n8:7: bad: << takes an alias of a mapping, or a list of them"
	if got := r.Problems().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{a: b}": "a mapping", "[a]": "a list", "x": `the text "x"`, "1": "1", "1.5": "1.5", "true": "true", "[~]": "a list",
		"!x y": "a value tagged !x", "'" + strings.Repeat("é", 50) + "'": `the text "` + strings.Repeat("é", 40) + `…"`,
	} {
		root, problems := Parse([]byte(text), limits())
		if problems != nil {
			t.Fatal(problems)
		}
		if got := Describe(root); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	if got := Describe(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}); got != "empty" {
		t.Errorf("got %s", got)
	}
}

func TestSuggest(t *testing.T) {
	t.Parallel()
	known := []string{"hostname", "hostip", "taskRetryCount", "lr"}
	for word, want := range map[string]string{
		"hostnme": "hostname", "host-ip": "hostip", "HOSTIP": "hostip", "task_retry_count": "taskRetryCount", "lt": "lr",
		"zebra": "", "": "", strings.Repeat("hostname", 9): "",
	} {
		if want != "" {
			want = fmt.Sprintf("; did you mean %q?", want)
		}
		if got := Suggest(word, known); got != want {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
	if got := Suggest("hostip", slices.Repeat(known, 100)); got != "" {
		t.Errorf("400 candidates: got %q", got)
	}
}

func TestEditDistanceMatchesRecursion(t *testing.T) {
	t.Parallel()
	var slow func(a, b string) int
	slow = func(a, b string) int {
		if a == "" || b == "" {
			return len(a) + len(b)
		}
		cost := 1
		if a[0] == b[0] {
			cost = 0
		}
		return min(slow(a[1:], b[1:])+cost, slow(a[1:], b)+1, slow(a, b[1:])+1)
	}
	word := rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		if got, want := editDistance(a, b), slow(a, b); got != want {
			t.Fatalf("got %d, want %d", got, want)
		}
	})
}
