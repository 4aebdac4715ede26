package pai

import (
	"fmt"
	"time"
)

// Maintenance is the record of a machine in maintenance: PAI expects nothing of it, and
// no operation but its return changes it.
type Maintenance struct {
	Since     time.Time `json:"since"`
	By        string    `json:"by"`        // user@host
	Operation string    `json:"operation"` // its ID in the journal
}

// String is "in maintenance since TIME by USER@HOST".
func (m Maintenance) String() string {
	return fmt.Sprintf("in maintenance since %s by %s", m.Since.UTC().Format("2006-01-02 15:04 MST"), m.By)
}
