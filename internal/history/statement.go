package history

import (
	"strconv"
	"strings"
)

// statement is a statement of SQL that is being written. A value never becomes part of
// its text.
type statement struct {
	text strings.Builder
	args []any
}

func (s *statement) add(texts ...string) {
	for _, t := range texts {
		s.text.WriteString(t)
	}
}

// arg adds an argument and returns its place in the text.
func (s *statement) arg(value any) string {
	s.args = append(s.args, value)
	return "$" + strconv.Itoa(len(s.args))
}

// where adds the conditions of a query.
func (s *statement) where(q Query, d dialect) {
	s.add(" WHERE 1 = 1")
	for _, c := range []struct {
		column string
		list   []string
	}{
		{"user_name", q.Users}, {"virtual_cluster", q.VirtualClusters}, {"state", q.States},
	} {
		if c.list != nil {
			s.add(" AND ", d.in(s, c.column, cleanAll(c.list)))
		}
	}
	if q.Priorities != nil {
		s.add(" AND ", d.in(s, s.seen(q, priorityColumn, "'"+defaultPriority+"'"), cleanAll(q.Priorities)))
	}
	if q.Tags != nil {
		s.add(" AND ", anyTag(s, q, q.Tags, d))
	}
	if q.NotTags != nil {
		s.add(" AND NOT ", anyTag(s, q, q.NotTags, d))
	}
	if q.Keyword != "" {
		word := s.arg(clean(q.Keyword))
		s.add(" AND (", d.position("user_name", word), " > 0 OR ", d.position("job_name", word), " > 0 OR ", d.position("virtual_cluster", word), " > 0)")
	}
}

// maxTags is how many tags of a query are looked for: a job has fewer.
const maxTags = 50

func anyTag(s *statement, q Query, tags []string, d dialect) string {
	if len(tags) == 0 {
		return "1 = 0"
	}
	var conditions []string
	column := s.seen(q, "tags", "''")
	for _, t := range tags[:min(len(tags), maxTags)] {
		conditions = append(conditions, d.position(column, s.arg(","+clean(t)+","))+" > 0")
	}
	return "(" + strings.Join(conditions, " OR ") + ")"
}

// seen is a column that is private, as the reader of a query sees it: of the jobs of others,
// it has the value of a job without it.
func (s *statement) seen(q Query, column, without string) string {
	if q.Reader == "" {
		return column
	}
	return "(CASE WHEN user_name = " + s.arg(clean(q.Reader)) + " THEN " + column + " ELSE " + without + " END)"
}

const priorityColumn = "CASE priority WHEN '' THEN '" + defaultPriority + "' ELSE priority END"

// columns are the columns that a field orders by. withoutIt has those that are private, with
// the value of a job without it.
var (
	columns = map[Field]string{
		ByName: "job_name", ByUser: "user_name", ByVC: "virtual_cluster", ByState: "state", ByPriority: priorityColumn,
		ByRetries: "retries", ByTasks: "tasks", ByGPUs: "gpus", ByCreated: "created", ByEnded: "ended",
	}
	withoutIt = map[Field]string{ByPriority: "'" + defaultPriority + "'", ByRetries: "0", ByTasks: "0", ByGPUs: "0"}
)

// orderBy adds the order of a query.
func (s *statement) orderBy(q Query) {
	s.add(" ORDER BY ")
	if column := columns[q.Order]; column != "" {
		if without := withoutIt[q.Order]; without != "" {
			column = s.seen(q, column, without)
		}
		s.add(column)
		if q.Descending {
			s.add(" DESC")
		}
		s.add(", ")
	}
	s.add("created DESC, user_name, job_name, uid")
}
