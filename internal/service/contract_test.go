package service

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"text/template"
	"text/template/parse"
)

// Every input that a template of a release uses is in the contract between
// bundles and paictl. What is there is never removed or renamed.
func TestTemplateInputsAreInTheContract(t *testing.T) {
	t.Parallel()
	contract, err := os.ReadFile("../../docs/bundle.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, src := range sources(t) {
		eachTemplate(t, src, func(name string, in *input) {
			for _, used := range inputsOf(t, name, in) {
				seen++
				if !strings.Contains(string(contract), "`"+used+"`") {
					t.Errorf("%s of release %s uses %s, which docs/bundle.md does not have", name, src.manifest.Metadata.Name, used)
				}
			}
		})
	}
	if seen < 50 {
		t.Errorf("got %d inputs, want at least 50: the search finds too few", seen)
	}
}

// The templates of every release can be executed with the configuration and the
// input of this paictl, also those of charts that come from modules.
func TestTemplatesOfOlderReleasesExecute(t *testing.T) {
	t.Parallel()
	executed := 0
	for _, src := range sources(t) {
		eachTemplate(t, src, func(name string, in *input) {
			text, err := in.execute(path.Base(name))
			if err != nil || strings.Contains(string(text), "<no value>") {
				t.Errorf("%s of release %s: got %q, %v", name, src.manifest.Metadata.Name, text, err)
			}
			executed++
		})
	}
	if executed < 20 {
		t.Errorf("got %d templates, want at least 20", executed)
	}
}

// eachTemplate calls visit for every template file of a release that paictl
// executes itself.
func eachTemplate(t *testing.T, src source, visit func(name string, in *input)) {
	t.Helper()
	for _, pin := range src.manifest.ServiceList {
		in, err := newInput(oneService(t, src, pin.Name, nil), testConfig(), src)
		if err != nil {
			t.Fatal(err)
		}
		files, err := fs.Glob(in.files, "*.tmpl")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			visit(pin.Name+"/"+f, in)
		}
	}
}

// inputsOf lists the fields and functions of PAI that a template uses.
func inputsOf(t *testing.T, name string, in *input) []string {
	t.Helper()
	text, err := fs.ReadFile(in.files, path.Base(name))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := template.New(name).Funcs(in.funcs).Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	var used []string
	inspect(parsed.Root, func(n parse.Node) {
		switch n := n.(type) {
		case *parse.FieldNode:
			used = append(used, "."+strings.Join(n.Ident, "."))
		case *parse.VariableNode:
			if len(n.Ident) > 1 {
				used = append(used, "."+strings.Join(n.Ident[1:], "."))
			}
		case *parse.IdentifierNode:
			if in.funcs[n.Ident] != nil {
				used = append(used, n.Ident)
			}
		}
	})
	slices.Sort(used)
	return slices.Compact(used)
}

// inspect visits a node and all below it.
func inspect(n parse.Node, visit func(parse.Node)) {
	if n == nil {
		return
	}
	visit(n)
	branch := func(b *parse.BranchNode) {
		inspect(b.Pipe, visit)
		inspect(b.List, visit)
		if b.ElseList != nil {
			inspect(b.ElseList, visit)
		}
	}
	switch n := n.(type) {
	case *parse.ListNode:
		for _, below := range n.Nodes {
			inspect(below, visit)
		}
	case *parse.ActionNode:
		inspect(n.Pipe, visit)
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			inspect(c, visit)
		}
	case *parse.CommandNode:
		for _, a := range n.Args {
			inspect(a, visit)
		}
	case *parse.ChainNode:
		inspect(n.Node, visit)
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	}
}
