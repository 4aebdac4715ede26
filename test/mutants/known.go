package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// known has the faults that an earlier run over the same tree noticed. A whole run
// takes an hour or more, and one that was stopped continues.
type known struct {
	file    *os.File
	noticed map[string][]string // the tests, by fault
}

// noticedFault is a line of the file.
type noticedFault struct {
	Fault string   `json:"fault"`
	Tests []string `json:"tests"`
}

// openKnown reads what is known of a tree. A line that a kill cut off is left out.
func openKnown(dir, tree string) (*known, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, tree+".jsonl"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	k := &known{file, map[string][]string{}}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var n noticedFault
		if json.Unmarshal(lines.Bytes(), &n) == nil && n.Fault != "" {
			k.noticed[n.Fault] = n.Tests
		}
	}
	return k, nil
}

// add records a result. What was not noticed is tried again by the next run.
func (k *known) add(r result) error {
	if r.kind != killed {
		return nil
	}
	line, err := json.Marshal(noticedFault{r.Name, r.failed})
	if err != nil {
		return err
	}
	// The line feed before it ends a line that a kill cut off.
	_, err = k.file.Write(append([]byte("\n"), append(line, '\n')...))
	return err
}

func (k *known) close() error { return k.file.Close() }

// resultsFile is what a whole run writes into the tree.
const resultsFile = "docs/mutants.md"

// treeDigest identifies a tree and the compiler, without the results of a run.
func treeDigest(dir string) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version())
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == resultsFile {
			return err
		}
		var data []byte
		if d.Type()&fs.ModeSymlink != 0 {
			var target string
			target, err = os.Readlink(path)
			data = []byte(target)
		} else {
			data, err = os.ReadFile(path)
		}
		fmt.Fprintf(sum, "%q %d\n", name, len(data))
		sum.Write(data)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// stateDir is where results are kept between runs.
func stateDir() (string, error) {
	cache := os.Getenv("PAI_CACHE_DIR")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", errors.Join(errors.New("set PAI_CACHE_DIR to a directory that stays between runs"), err)
		}
		cache = filepath.Join(user, "pai")
	}
	return filepath.Join(cache, "mutants"), nil
}
