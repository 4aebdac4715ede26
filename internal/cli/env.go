package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"

	"golang.org/x/term"

	"pai.dev/pai/internal/cli/ui"
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
	// Terminal is true if Out is a terminal.
	Terminal bool

	yes bool // value of --yes
}

// DefaultEnv takes the directories from PAI_STATE_DIR and PAI_CACHE_DIR, else
// from XDG_STATE_HOME and XDG_CACHE_HOME, else from the home directory. It sets HOME if
// it is not set.
func DefaultEnv() (*Env, error) {
	setHome()
	state, errState := directory("PAI_STATE_DIR", "XDG_STATE_HOME", ".local/state")
	cache, errCache := directory("PAI_CACHE_DIR", "XDG_CACHE_HOME", ".cache")
	if err := cmp.Or(errState, errCache); err != nil {
		return nil, err
	}
	return &Env{
		Console:     ui.Console{Out: os.Stdout, Err: os.Stderr},
		In:          os.Stdin,
		StateDir:    state,
		CacheDir:    cache,
		Interactive: term.IsTerminal(int(os.Stdin.Fd())),
		Terminal:    term.IsTerminal(int(os.Stdout.Fd())),
	}, nil
}

// directory is the value of the variable own, else a directory in that of xdg, else one below
// the home directory.
func directory(own, xdg, fallback string) (string, error) {
	if dir := os.Getenv(own); dir != "" {
		return dir, nil
	}
	if dir := os.Getenv(xdg); dir != "" {
		return filepath.Join(dir, "pai"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the home directory: %w; set HOME, or %s", err, own)
	}
	return filepath.Join(home, fallback, "pai"), nil
}

// setHome sets HOME if it is not set, as in a unit of systemd: go, git, and ssh need it as
// well. A user without a home directory is an error where one is needed.
func setHome() {
	if os.Getenv("HOME") != "" {
		return
	}
	if u, err := user.Current(); err == nil && u.HomeDir != "" {
		_ = os.Setenv("HOME", u.HomeDir) // fails for invalid names only
	}
}
