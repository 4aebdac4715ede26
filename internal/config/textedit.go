package config

import (
	"bytes"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// errForm says that a text is written in a form that cannot be edited line by
// line, such as {a: b} over a whole file. It is then written anew from its tree.
var errForm = errors.New("the text has a form that is not edited in place")

// editText makes edits in a file's text, line by line, and leaves every other
// line as it is. The tree that the edits make is want; where the lines do not
// come out the same, the file is written anew from it, with its comments.
func editText(data []byte, edits []treeEdit, want *yaml.Node) ([]byte, error) {
	got, err := editLines(data, edits)
	if err == nil {
		if root, _ := parse(got); root != nil && same(root, want) {
			return got, nil
		}
	}
	return encode(data, want)
}

// encode writes a tree, below what stands above the file's first key.
func encode(before []byte, root *yaml.Node) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(before, &doc); err != nil {
		return nil, fmt.Errorf("read the file again: %w", err)
	}
	root = clone(root)
	doc.Content = []*yaml.Node{root}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(&doc), enc.Close()); err != nil {
		return nil, fmt.Errorf("rewrite the file: %w", err)
	}
	if got, problems := parse(out.Bytes()); got == nil {
		return nil, fmt.Errorf("the rewritten file cannot be read: %w", problems)
	}
	return out.Bytes(), nil
}

func editLines(data []byte, edits []treeEdit) ([]byte, error) {
	for len(edits) > 0 {
		n := 1
		for edits[0].kind == editInsert && n < len(edits) && edits[n].kind == editInsert {
			n++
		}
		var err error
		if data, err = editOnce(data, edits[:n]); err != nil {
			return nil, err
		}
		edits = edits[n:]
	}
	return data, nil
}

// editOnce makes one edit, or several insertions.
func editOnce(data []byte, edits []treeEdit) ([]byte, error) {
	if edits[0].kind == editSet {
		return setScalar(data, splitPath(edits[0].path), edits[0].node.Value)
	}
	t, err := parseText(data)
	if err != nil {
		return nil, err
	}
	switch e := edits[0]; e.kind {
	case editRename:
		err = t.rename(e)
	case editDrop:
		_, err = t.take(e.path)
	case editMove:
		err = t.move(e)
	default:
		err = t.insertAll(edits)
	}
	if err != nil {
		return nil, err
	}
	return t.bytes(), nil
}
