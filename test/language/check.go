package main

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// check returns the retired words below the paths of a tree.
func check(tree fs.FS, paths []string) ([]finding, error) {
	rules, err := parseRules(retired)
	if err != nil {
		return nil, err
	}
	exceptions, err := parseExceptions(exceptionList)
	if err != nil {
		return nil, err
	}
	var findings []finding
	for _, p := range paths {
		err := fs.WalkDir(tree, path.Clean(p), func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				if skippedFolder(name, d.Name()) {
					return fs.SkipDir
				}
				return nil
			}
			if skippedFile(name) {
				return nil
			}
			data, err := fs.ReadFile(tree, name)
			if err != nil {
				return err
			}
			found, err := checkFile(name, string(data), rules, exceptions)
			findings = append(findings, found...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return sorted(findings), nil
}

// skippedFolder leaves out what is not written here: test data (the scripts of
// paictl are text of ours), built things, and hidden folders.
func skippedFolder(name, base string) bool {
	if name == "web/dist" { // made from web/src
		return true
	}
	if name == "." || name == "test/script/testdata" || base == ".github" {
		return false
	}
	return strings.HasPrefix(base, ".") || slices.Contains([]string{"testdata", "bin", "node_modules"}, base)
}

// skippedFile leaves out the list itself and what is no text of ours.
func skippedFile(name string) bool {
	if strings.HasPrefix(name, "test/language/") || name == "LICENSE" {
		return true
	}
	known := []string{".go", ".md", ".sh", ".txtar", ".tmpl", ".yaml", ".yml", ".txt", ".awk", ".ts", ".tsx", ".mjs", ".css", ".html"}
	return !slices.Contains(known, path.Ext(name)) && path.Base(name) != "Makefile" && name != ".ci/run"
}

func checkFile(name, source string, rules rules, exceptions []exception) ([]finding, error) {
	var texts []text
	if path.Ext(name) == ".go" {
		var err error
		if texts, err = goTexts(name, source); err != nil {
			return nil, err
		}
	} else {
		texts = []text{{line: 1, lines: strings.Split(source, "\n")}}
	}
	var allowed []*regexp.Regexp
	for _, e := range exceptions {
		if e.covers(name) {
			allowed = append(allowed, e.text)
		}
	}
	var findings []finding
	for _, t := range texts {
		findings = append(findings, t.search(name, rules, allowed)...)
	}
	return findings, nil
}
