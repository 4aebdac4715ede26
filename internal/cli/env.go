package cli

import (
	"cmp"
	"io"
	"os"
	"path/filepath"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/pai"
)

// Env is what a command may use of the world around the program. Tests give
// their own; there are no globals.
type Env struct {
	ui.Console
	In io.Reader
	// StateDir holds what the operator's side keeps: keys, known hosts, local
	// machines, clusters' kubeconfigs and configurations.
	StateDir string
	// CacheDir holds what can be made again: built programs, base file systems, bundles.
	CacheDir string
	// Interactive is true when In is a terminal.
	Interactive bool

	yes bool // value of --yes
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
		Console:     ui.Console{Out: os.Stdout, Err: os.Stderr},
		In:          os.Stdin,
		StateDir:    cmp.Or(os.Getenv("PAI_STATE_DIR"), under(os.Getenv("XDG_STATE_HOME"), "pai"), filepath.Join(home, ".local/state/pai")),
		CacheDir:    cmp.Or(os.Getenv("PAI_CACHE_DIR"), under(os.Getenv("XDG_CACHE_HOME"), "pai"), filepath.Join(home, ".cache/pai")),
		Interactive: interactive,
	}, nil
}

func under(dir, name string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, name)
}
