package cli

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

// localMarker is a file in the directory of a cluster that up created.
const localMarker = "made-by-up"

// isLocal reports whether up created the cluster on this host.
func (e *Env) isLocal(id string) bool {
	_, err := os.Stat(filepath.Join(e.dirs().ClusterDir(id), localMarker))
	return err == nil
}

// confirm asks for the cluster ID before a cluster is changed. It does not ask
// for a cluster of local machines.
func (f *clusterFlags) confirm(s *session.Session, what string) error {
	id := s.ClusterID()
	if f.clusterID != "" {
		return f.checkID(id)
	}
	if f.env.isLocal(id) {
		return nil
	}
	answer, err := f.env.ask(fmt.Sprintf("This will %s. To continue, type the cluster ID: ", what), "--cluster-id "+id)
	if err != nil {
		return err
	}
	if answer != id {
		return pai.Errorf(pai.CodeRefused, "nothing was changed", "the cluster ID is not %q", answer)
	}
	return nil
}

// checkID refuses a configuration for another cluster than the one that --cluster-id names.
func (f *clusterFlags) checkID(id string) error {
	if f.clusterID != "" && f.clusterID != id {
		return pai.Errorf(pai.CodeRefused, "check which configuration -p names", "the configuration is for cluster %q, not for %q", id, f.clusterID)
	}
	return nil
}

// confirm asks a yes-or-no question; --yes answers it.
func (e *Env) confirm(what string) error {
	if e.yes {
		return nil
	}
	answer, err := e.ask(what+". Continue? [y/N] ", "--yes")
	if err != nil {
		return err
	}
	if a := strings.ToLower(answer); a != "y" && a != "yes" {
		return pai.Errorf(pai.CodeRefused, "nothing was changed", "not confirmed")
	}
	return nil
}

// ask reads one line; flag is what a script passes instead.
func (e *Env) ask(question, flag string) (string, error) {
	if !e.Interactive {
		return "", pai.Errorf(pai.CodeUsage, "pass "+flag, "an answer is required and there is no terminal")
	}
	fmt.Fprint(e.Err, question)
	line, err := bufio.NewReader(e.In).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	return strings.TrimSpace(line), nil
}
