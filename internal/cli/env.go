package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/pai"
)

// Env is what a command may use of the world around the program. Tests give
// their own; there are no globals.
type Env struct {
	In  io.Reader
	Out io.Writer // data only
	Err io.Writer // progress and errors
	// StateDir holds what the operator's side keeps: keys, known hosts, local
	// machines, clusters' kubeconfigs and configurations.
	StateDir string
	// CacheDir holds what can be made again: built programs, base file systems, bundles.
	CacheDir string
	// Interactive is true when In is a terminal.
	Interactive bool

	output string // value of -o
	yes    bool   // value of --yes
}

// DefaultEnv reads the folders from PAI_STATE_DIR and PAI_CACHE_DIR, else from
// XDG_STATE_HOME and XDG_CACHE_HOME, else from the home folder.
func DefaultEnv() (*Env, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, pai.Errorf(pai.CodeFailed, "set HOME, or PAI_STATE_DIR and PAI_CACHE_DIR", "find the home folder: %w", err)
	}
	info, err := os.Stdin.Stat()
	interactive := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &Env{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		StateDir:    firstSet(os.Getenv("PAI_STATE_DIR"), under(os.Getenv("XDG_STATE_HOME"), "pai"), filepath.Join(home, ".local/state/pai")),
		CacheDir:    firstSet(os.Getenv("PAI_CACHE_DIR"), under(os.Getenv("XDG_CACHE_HOME"), "pai"), filepath.Join(home, ".cache/pai")),
		Interactive: interactive,
	}, nil
}

func firstSet(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func under(dir, name string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, name)
}

// JSON reports whether -o json was asked for.
func (e *Env) JSON() bool { return e.output == "json" }

// Show prints a result on standard output: data as indented JSON with -o
// json, else whatever text writes.
func (e *Env) Show(data any, text func(w io.Writer) error) error {
	if !e.JSON() {
		return text(e.Out)
	}
	enc := json.NewEncoder(e.Out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(data)
}

// Progressf prints one line about what is being done on standard error.
func (e *Env) Progressf(format string, args ...any) {
	fmt.Fprintf(e.Err, format+"\n", args...)
}

// addOutputFlag gives a command -o.
func (e *Env) addOutputFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVarP(&e.output, "output", "o", "text", "output format: text or json")
}

func (e *Env) checkOutput() error {
	if e.output != "text" && e.output != "json" && e.output != "" {
		return pai.Errorf(pai.CodeUsage, "use -o text or -o json", "unknown output format %q", e.output)
	}
	return nil
}
