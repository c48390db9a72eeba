package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/solovip/solovip/lab/report"
)

// page is the file of the HTML page, begun before the runs: that it cannot be written has to
// show before a quarter of an hour of them. A nil page is none.
type page struct {
	file string
	temp *os.File // beside it; nil: written or dropped
}

// newPage begins the page; without a file's name there is none.
func newPage(file string) (*page, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // none is an answer
	}
	temp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return nil, fmt.Errorf("write the page %s: %w", file, err)
	}
	return &page{file, temp}, nil
}

// write writes the runs. The page takes the place of an older one as a whole.
func (p *page) write(runs []*report.Run, ratios []report.Ratio) error {
	if p == nil {
		return nil
	}
	err := errors.Join(report.Page(p.temp, runs, ratios), p.temp.Chmod(0o644))
	if err == nil {
		err = os.Rename(p.temp.Name(), p.file)
	}
	if err != nil {
		return fmt.Errorf("write the page %s: %w", p.file, err)
	}
	err = p.temp.Close()
	p.temp = nil
	return err
}

// drop removes a page that was not written.
func (p *page) drop() {
	if p != nil && p.temp != nil {
		_ = p.temp.Close() // nothing of it is wanted
		_ = os.Remove(p.temp.Name())
	}
}
