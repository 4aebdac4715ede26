package history

import (
	"encoding/json"
	"fmt"
)

// dialect is what differs between the databases.
type dialect interface {
	// name is also that of the directory of its migrations.
	name() string
	// position is where a text has a part, from 1; 0 if it does not.
	position(column, part string) string
	// in is the condition that a column has a value of a list.
	in(s *statement, column string, list []string) string
}

type sqlite struct{}

func (sqlite) name() string                        { return "sqlite" }
func (sqlite) position(column, part string) string { return fmt.Sprintf("instr(%s, %s)", column, part) }

func (sqlite) in(s *statement, column string, list []string) string {
	text, _ := json.Marshal(list) // a list of texts has no error
	return fmt.Sprintf("%s IN (SELECT value FROM json_each(%s))", column, s.arg(string(text)))
}

type postgresql struct{}

func (postgresql) name() string { return "postgresql" }
func (postgresql) position(column, part string) string {
	return fmt.Sprintf("strpos(%s, %s)", column, part)
}

func (postgresql) in(s *statement, column string, list []string) string {
	return fmt.Sprintf("%s = ANY(%s::text[])", column, s.arg(list))
}
