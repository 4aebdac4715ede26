package config

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// editText makes edits in the text of a file and leaves every other line as it
// is. The tree that the edits make is want; if the lines do not come out the
// same, the file is written again from it, with its comments.
func editText(data []byte, edits []treeEdit, want *yaml.Node) ([]byte, error) {
	got, err := editLines(data, edits)
	if err == nil {
		if root, _ := parse(got); root != nil && same(root, want) {
			return got, nil
		}
	}
	return rewriteFile(data, want)
}

// rewriteFile writes a tree, below the text above the first key of the file.
func rewriteFile(before []byte, root *yaml.Node) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(before, &doc); err != nil {
		return nil, fmt.Errorf("read the file again: %w", err)
	}
	doc.Content = []*yaml.Node{root}
	out, err := encode(&doc)
	if err != nil {
		return nil, fmt.Errorf("rewriteFile the file: %w", err)
	}
	if got, problems := parse(out); got == nil {
		return nil, fmt.Errorf("the rewritten file cannot be read: %w", problems)
	}
	return out, nil
}

func encode(n *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	err := errors.Join(enc.Encode(n), enc.Close())
	return out.Bytes(), err
}

func editLines(data []byte, edits []treeEdit) (_ []byte, err error) {
	for len(edits) > 0 && err == nil {
		n := 1
		for edits[0].kind == editInsert && n < len(edits) && edits[n].kind == editInsert {
			n++
		}
		data, err = editOnce(data, edits[:n])
		edits = edits[n:]
	}
	return data, err
}

// editOnce makes one edit, or several insertions.
func editOnce(data []byte, edits []treeEdit) ([]byte, error) {
	d, err := newDocument(data)
	if err != nil {
		return nil, err
	}
	switch e := edits[0]; e.kind {
	case editSet:
		return replaceScalar(data, find(d.root, e.path), e.node.Value)
	case editRename:
		return replaceScalar(data, keyAt(d.root, e.path), e.to)
	case editDrop:
		_, err = d.cut(e.path)
	case editCutItem:
		at, _ := strconv.Atoi(e.to)
		err = d.cutItem(e.path, at)
	case editAppendItem:
		err = d.appendItem(e.path, e.node)
	case editMove:
		err = d.move(e)
	default:
		err = d.insertAll(edits)
	}
	return d.bytes(), err
}

// replaceScalar replaces the text of a key or a value, and keeps its quotes and
// everything around it.
func replaceScalar(data []byte, n *yaml.Node, to string) ([]byte, error) {
	if n == nil {
		return nil, errForm
	}
	start, old := offsetOf(data, n), n.Value
	switch {
	case n.Kind == yaml.AliasNode:
		old = "*" + n.Value
	case n.Kind != yaml.ScalarNode:
		return nil, fmt.Errorf("line %d: not a plain value", n.Line)
	default:
		start += skipProperties(data[start:])
		if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			start++
		}
	}
	if start > len(data) || !bytes.HasPrefix(data[start:], []byte(old)) {
		return nil, fmt.Errorf("line %d: the value is written in a form that cannot be changed in place; write it plainly", n.Line)
	}
	return bytes.Join([][]byte{data[:start], data[start+len(old):]}, []byte(to)), nil
}

// offsetOf turns the line and the column of a node, which counts characters,
// into a place in the bytes.
func offsetOf(data []byte, n *yaml.Node) int {
	offset := 0
	for range n.Line - 1 {
		offset += bytes.IndexByte(data[offset:], '\n') + 1
	}
	line, _, _ := strings.Cut(string(data[offset:]), "\n")
	characters := []rune(line)
	return offset + len(string(characters[:min(n.Column-1, len(characters))]))
}

// skipProperties is the length of an anchor and a tag before a value.
func skipProperties(text []byte) int {
	rest := text
	for len(rest) > 0 && (rest[0] == '&' || rest[0] == '!') {
		end := bytes.IndexAny(rest, " \t\n")
		if end < 0 {
			break
		}
		rest = bytes.TrimLeft(rest[end:], " \t\n")
	}
	return len(text) - len(rest)
}
