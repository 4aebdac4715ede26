package cli

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command line of paictl that product code or a document prints names a
// command with its flags.
func TestAdviceNamesCommands(t *testing.T) {
	t.Parallel()
	found := 0
	for place, text := range adviceTexts(t, os.DirFS("../..")) {
		for _, line := range commandLines(text) {
			found++
			if err := resolve(newRootCommand(&Env{}), line); err != nil {
				t.Errorf("%s: paictl %s: %v", place, line, err)
			}
		}
	}
	if found < 200 {
		t.Errorf("got %d command lines, want at least 200: the search finds too few", found)
	}
}

// A push without its reason is refused, so every advised one has it.
func TestAdvisedPushHasItsReason(t *testing.T) {
	t.Parallel()
	push, found := regexp.MustCompile("run: paictl config push[^\n;`|#]*"), 0
	for place, text := range adviceTexts(t, os.DirFS("../..")) {
		for _, line := range push.FindAllString(text, -1) {
			if found++; !strings.Contains(line, " -m ") && !strings.Contains(line, "--dry-run") {
				t.Errorf("%s: %q has no -m", place, line)
			}
		}
	}
	if found == 0 {
		t.Error("found no advised push")
	}
}

func TestResolveFindsMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"run: paictl upgrade apply --to v0.10", ""},
		{"run: paictl job logs -f ada~train; or wait", ""},
		{"`paictl config push -m \"two more\"`", ""},
		{"see paictl machine shell m -- ls -x", ""},
		{"this paictl does not know it", ""},
		{"run: paictl upgrade aply", `no command "aply"`},
		{"run: paictl upgrades", `no command "upgrades"`},
		{"run: paictl upgrade resume --wit", "no flag --wit"},
		{"run: paictl upgrade resume -x", "no flag -x"},
		{"run: paictl", "no command"},
	} {
		var problem string
		for _, line := range commandLines(c.text) {
			if err := resolve(newRootCommand(&Env{}), line); err != nil {
				problem = err.Error()
			}
		}
		if problem != c.want {
			t.Errorf("%s: got %q, want %q", c.text, problem, c.want)
		}
	}
}

// adviceTexts are the string literals of product code, the help, and the
// documents, each with its place.
func adviceTexts(t *testing.T, tree fs.FS) map[string]string {
	t.Helper()
	texts := map[string]string{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"testdata", "bin", "test"}, d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		switch {
		case strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go"):
			return literals(tree, name, texts)
		case name == "docs/mutants.md": // sentences about faults, and no command
		case path.Ext(name) == ".md" || strings.HasPrefix(name, "internal/cli/help/"):
			data, err := fs.ReadFile(tree, name)
			texts[name] = string(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

func literals(tree fs.FS, name string, texts map[string]string) error {
	source, err := fs.ReadFile(tree, name)
	if err != nil {
		return err
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if text, err := strconv.Unquote(literal.Value); err == nil {
				texts[files.Position(n.Pos()).String()] = text
			}
		}
		return true
	})
	return nil
}

// commandLines are the words after paictl, up to the end of the line or of the
// command. Sentences about paictl are left out.
func commandLines(text string) []string {
	var lines []string
	unwrapped := quotedLineBreak.ReplaceAllString(text, `"paictl $1 $2`)
	for _, m := range call.FindAllStringSubmatch(unwrapped, -1) {
		line := strings.TrimSpace(m[2])
		first, _, _ := strings.Cut(line, " ")
		if m[1] != "" || commandWord.MatchString(first) && !slices.Contains(prose, first) {
			lines = append(lines, line)
		}
	}
	return lines
}

var (
	call            = regexp.MustCompile("(run: )?\\bpaictl\\b( [^\n;`\"()|#]*)?")
	quotedLineBreak = regexp.MustCompile(`"paictl (\w+)\n(\w+)`)
	commandWord     = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	// prose are the words that follow paictl in sentences about it.
	prose = []string{"adds", "and", "as", "can", "compares", "computes", "does", "finds", "for", "in", "installs", "is", "like", "needs", "observes", "on", "or", "prints", "reaches", "reads", "refuses", "runs", "that", "to", "with", "writes"}
)

// resolve reports the first word of a command line that is neither a command
// nor an argument or a flag of one.
func resolve(cmd *cobra.Command, line string) error {
	words := strings.Fields(line)
	for len(words) > 0 && cmd.HasSubCommands() {
		next := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Name() == words[0] })
		if next < 0 {
			break
		}
		cmd, words = cmd.Commands()[next], words[1:]
	}
	if cmd.HasSubCommands() {
		if len(words) > 0 && commandWord.MatchString(words[0]) {
			return fmt.Errorf("no command %q", words[0])
		}
		if !cmd.HasParent() && (len(words) == 0 || words[0] != "--help") {
			return fmt.Errorf("no command")
		}
	}
	for _, word := range words {
		name, _, _ := strings.Cut(strings.Trim(word, "[].,:"), "=")
		long, isLong := strings.CutPrefix(name, "--")
		switch {
		case name == "--":
			return nil
		case isLong && long != "help" && cmd.Flag(long) == nil && cmd.InheritedFlags().Lookup(long) == nil:
			return fmt.Errorf("no flag %s", name)
		case !isLong && len(name) == 2 && name[0] == '-' && cmd.Flags().ShorthandLookup(name[1:]) == nil && cmd.InheritedFlags().ShorthandLookup(name[1:]) == nil:
			return fmt.Errorf("no flag %s", name)
		}
	}
	return nil
}
