package config

import "fmt"

// rules checks what must be true between the values of a configuration. A value
// that is wrong by itself has been reported already and is skipped here.
type rules struct {
	c     *Config
	trees map[string]*tree
	known []Release
}

func checkRules(c *Config, trees map[string]*tree, known []Release) {
	r := rules{c, trees, known}
	r.machines()
	r.passwords()
	r.shares()
	r.borrowing()
	r.storages()
	r.versions()
	r.ranges()
	r.apiAddress()
	r.ports()
	r.tasks()
	r.backup()
	r.alerts()
}

func (r rules) problem(file, path, format string, args ...any) {
	t := r.trees[file]
	t.problem(t.at(path), format, args...)
}

func (r rules) line(file, path string) int { return r.trees[file].at(path).Line }

func machinePath(i int, name string) string { return fmt.Sprintf("machine-list[%d].%s", i, name) }
