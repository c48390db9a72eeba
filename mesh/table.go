package mesh

import (
	"slices"
	"time"

	"github.com/solovip/solovip/arbiter"
)

// table is what one member knows of the others' reports. It is bounded by the
// configured members: only theirs are put in.
type table struct {
	origins map[string]*origin
}

// origin is what is known of the reports of one member.
type origin struct {
	// newest is the newest report that came by each path; "" is the direct one.
	newest map[string]stamp

	// direct is the newest report that came directly, at directAt on the boot clock.
	// Only such ones are passed on: "via w1" means that w1 hears the origin itself.
	direct   arbiter.Report
	directAt time.Time
}

func newTable() *table {
	return &table{origins: make(map[string]*origin)}
}

// see takes a report that came by a path (via "" is directly) at now, and says
// whether it is news by that path.
func (t *table) see(r arbiter.Report, via string, now time.Time) bool {
	o := t.origins[r.Node]
	if o == nil {
		o = &origin{newest: make(map[string]stamp)}
		t.origins[r.Node] = o
	}
	s := stampOf(r)
	if last, known := o.newest[via]; known && !s.newer(last) {
		return false
	}
	if direct, known := o.newest[""]; via != "" && known && direct.newer(s) {
		return false // the origin itself has told more since
	}
	o.newest[via] = s
	if via == "" {
		o.direct, o.directAt = r, now
	}
	return true
}

// fresh returns the reports that came directly within age before now, by the
// origin's name.
func (t *table) fresh(now time.Time, age time.Duration) []arbiter.Report {
	var reports []arbiter.Report
	for _, o := range t.origins {
		if !o.directAt.IsZero() && now.Sub(o.directAt) <= age {
			reports = append(reports, o.direct)
		}
	}
	slices.SortFunc(reports, func(a, b arbiter.Report) int {
		if a.Node < b.Node {
			return -1
		}
		return 1
	})
	return reports
}

// newest returns the newest stamp of an origin known by any path, nil for none.
func (t *table) newest(node string) *stamp {
	o := t.origins[node]
	if o == nil {
		return nil
	}
	var newest *stamp
	for _, s := range o.newest {
		if newest == nil || s.newer(*newest) {
			newest = &s
		}
	}
	return newest
}
