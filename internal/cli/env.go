package cli

import (
	"cmp"
	"io"
	"os"
	"path/filepath"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/pai"
)

// Env is what a command uses of the process that it runs in. Tests provide
// their own; there are no globals.
type Env struct {
	ui.Console
	In io.Reader
	// StateDir holds keys, known hosts, local machines, and for each cluster
	// its kubeconfig and configuration.
	StateDir string
	// CacheDir holds what can be rebuilt: programs, base file systems, bundles.
	CacheDir string
	// Interactive is true if In is a terminal.
	Interactive bool

	yes bool // value of --yes
}

// DefaultEnv takes the directories from PAI_STATE_DIR and PAI_CACHE_DIR, else
// from XDG_STATE_HOME and XDG_CACHE_HOME, else from the home directory.
func DefaultEnv() (*Env, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, pai.Errorf(pai.CodeFailed, "set HOME, or PAI_STATE_DIR and PAI_CACHE_DIR", "find the home directory: %w", err)
	}
	info, err := os.Stdin.Stat()
	dir := func(own, xdg, fallback string) string {
		return cmp.Or(os.Getenv(own), filepath.Join(cmp.Or(os.Getenv(xdg), filepath.Join(home, fallback)), "pai"))
	}
	return &Env{
		Console:     ui.Console{Out: os.Stdout, Err: os.Stderr},
		In:          os.Stdin,
		StateDir:    dir("PAI_STATE_DIR", "XDG_STATE_HOME", ".local/state"),
		CacheDir:    dir("PAI_CACHE_DIR", "XDG_CACHE_HOME", ".cache"),
		Interactive: err == nil && info.Mode()&os.ModeCharDevice != 0,
	}, nil
}
