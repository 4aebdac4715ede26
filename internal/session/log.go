package session

import (
	"fmt"
	"path/filepath"

	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/oplog"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest"
)

// StartLog logs every call of the machines and every line of progress to a
// separate file until the returned function is called. It must not be called
// while the session is in use by another operation.
func (s *Session) StartLog(name string) (log *oplog.Log, stop func(), err error) {
	log, err = oplog.Open(filepath.Join(s.Dirs.State, "logs"), name, s.secrets()...)
	if err != nil {
		return nil, nil, pai.Errorf(pai.CodeFailed,
			fmt.Sprintf("every operation writes a log: make %s writable, or copy it to a directory that is, and set PAI_STATE_DIR to the copy", s.Dirs.State), "%w", err)
	}
	hosts, progressf := s.Hosts, s.Progressf
	s.Hosts = map[string]machine.Host{}
	for name, h := range hosts {
		s.Hosts[name] = machine.Logged(h, log.Logger)
	}
	s.Progressf = func(format string, args ...any) {
		log.Info("progress", "text", fmt.Sprintf(format, args...))
		progressf(format, args...)
	}
	return log, func() {
		s.Hosts, s.Progressf = hosts, progressf
		_ = log.Close() // every entry is written already
	}, nil
}

// secrets are the passwords of the configuration and the token of the REST server.
func (s *Session) secrets() []string {
	var list []string
	for _, m := range s.Config.Layout.MachineList {
		list = append(list, m.Password.Reveal())
	}
	if access, err := rest.LoadAccess(filepath.Join(s.ClusterDir(), rest.AccessFile)); err == nil {
		list = append(list, access.Token)
	}
	return list
}
