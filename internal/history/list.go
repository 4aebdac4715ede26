package history

import (
	"context"
	"encoding/json"
	"slices"

	"pai.dev/pai/internal/job"
)

// List returns a page of the jobs that the cluster has and of those that are recorded,
// and how many jobs the query selects, as its reader sees them. The cluster decides about
// its jobs, which must be all that the query could select.
func (s *Store) List(ctx context.Context, q Query, inCluster []Summary) (page []Summary, total int, err error) {
	living := q.Select(inCluster)
	uids := make([]string, len(inCluster))
	for i, j := range inCluster {
		uids[i] = clean(j.UID)
	}
	// The page begins at most as many recorded jobs earlier as there are living ones.
	from := max(0, q.Offset-len(living))
	recorded, err := s.recorded(ctx, q, uids, from, q.Limit+len(living))
	if err != nil {
		return nil, 0, readError(err)
	}
	total, err = s.count(ctx, q, uids)
	if err != nil {
		return nil, 0, readError(err)
	}
	return merge(q, living, recorded, from), total + len(living), nil
}

// merge returns the page of a query from its living jobs and from recorded jobs, before
// which there are as many more as from says. All are in order.
func merge(q Query, living, recorded []Summary, from int) []Summary {
	earlier := 0 // living jobs that are before the recorded ones
	if from > 0 {
		if len(recorded) == 0 {
			return []Summary{} // the page is after the end
		}
		earlier = len(living)
		if i := slices.IndexFunc(living, func(s Summary) bool { return q.compare(s, recorded[0]) > 0 }); i >= 0 {
			earlier = i
		}
	}
	all := append(slices.Clone(living[earlier:]), recorded...)
	slices.SortFunc(all, q.compare)
	q.Offset -= from + earlier
	return append([]Summary{}, q.page(all)...)
}

func (s *Store) recorded(ctx context.Context, q Query, without []string, from, limit int) (page []Summary, err error) {
	var st statement
	st.add("SELECT " + summaryColumns + " FROM jobs")
	st.where(q, s.d)
	if len(without) > 0 {
		st.add(" AND NOT ", s.d.in(&st, "uid", without))
	}
	st.orderBy(q)
	st.add(" LIMIT ", st.arg(limit), " OFFSET ", st.arg(from))
	rows, err := s.db.QueryContext(ctx, st.text.String(), st.args...)
	if err != nil {
		return nil, err
	}
	err = eachRow(rows, func() error {
		sum, err := scanSummary(rows)
		page = append(page, q.seen(sum))
		return err
	})
	return page, err
}

// count is how many recorded jobs a query selects that the cluster does not have.
func (s *Store) count(ctx context.Context, q Query, without []string) (n int, err error) {
	var all statement
	all.add("SELECT count(*) FROM jobs")
	all.where(q, s.d)
	if err := s.db.QueryRowContext(ctx, all.text.String(), all.args...).Scan(&n); err != nil || len(without) == 0 {
		return n, err
	}
	var living statement
	living.add("SELECT count(*) FROM jobs")
	living.where(q, s.d)
	living.add(" AND ", s.d.in(&living, "uid", without))
	var both int
	err = s.db.QueryRowContext(ctx, living.text.String(), living.args...).Scan(&both)
	return n - both, err
}

// Statuses returns recorded jobs by UID as they were last seen, without what their tasks
// say. The first of them have at most maxBytes in the database; the others are left out.
func (s *Store) Statuses(ctx context.Context, jobs []Summary, maxBytes int64) (map[string]job.Status, error) {
	sizes, err := s.sizes(ctx, jobs)
	if err != nil {
		return nil, readError(err)
	}
	byUID, uids := map[string]Summary{}, []string{}
	for _, j := range jobs {
		if maxBytes -= sizes[j.UID]; maxBytes < 0 {
			break
		}
		byUID[j.UID], uids = j, append(uids, j.UID)
	}
	var st statement
	st.add("SELECT uid, status FROM "+newestAttempts+" WHERE ", s.d.in(&st, "uid", uids))
	rows, err := s.db.QueryContext(ctx, st.text.String(), st.args...)
	if err != nil {
		return nil, readError(err)
	}
	statuses := map[string]job.Status{}
	err = eachRow(rows, func() error {
		var uid string
		var text []byte
		var status job.Status
		err := rows.Scan(&uid, &text)
		if err == nil {
			err = json.Unmarshal(text, &status)
		}
		statuses[uid] = asLeft(withoutMessages(status), byUID[uid])
		return err
	})
	return statuses, readError(err)
}

const newestAttempts = "jobs JOIN attempts ON attempts.job = jobs.uid AND attempts.attempt = jobs.retries"

// sizes is how many bytes the statuses of jobs have in the database.
func (s *Store) sizes(ctx context.Context, jobs []Summary) (map[string]int64, error) {
	uids := make([]string, len(jobs))
	for i, j := range jobs {
		uids[i] = j.UID
	}
	var st statement
	st.add("SELECT uid, length(status) FROM "+newestAttempts+" WHERE ", s.d.in(&st, "uid", uids))
	rows, err := s.db.QueryContext(ctx, st.text.String(), st.args...)
	if err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	err = eachRow(rows, func() error {
		var uid string
		var bytes int64
		err := rows.Scan(&uid, &bytes)
		sizes[uid] = bytes
		return err
	})
	return sizes, err
}
