package split

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// ErrInForce says that a cut is in force already.
var ErrInForce = errors.New("a cut is in force already")

// Apply puts the cut into the kernel, in the network namespace of the calling thread, where
// it ends by itself when its time is over. What an earlier one left, which drops nothing any
// more, goes. It refuses with ErrInForce while another one drops something.
func (c Cut) Apply() error {
	if err := c.Validate(); err != nil {
		return err
	}
	left, err := InForce()
	switch {
	case err != nil:
		return err
	case left > 0:
		return fmt.Errorf("%w, for another %v", ErrInForce, left.Round(time.Second))
	}
	if err := End(); err != nil {
		return err
	}
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("reach the firewall: %w", hint(err))
	}
	for _, t := range c.tables() {
		conn.CreateTable(t.Table) // refused when somebody was faster
		for _, s := range t.sets {
			if err := conn.AddSet(s.Set, nil); err != nil {
				return fmt.Errorf("add the set %s: %w", s.Name, err)
			}
			var elements []nftables.SetElement
			for _, a := range s.addrs {
				elements = append(elements, nftables.SetElement{Key: a.AsSlice(), Timeout: c.For})
			}
			if err := conn.SetAddElements(s.Set, elements); err != nil {
				return fmt.Errorf("add addresses to the set %s: %w", s.Name, err)
			}
		}
		for _, ch := range t.chains {
			conn.AddChain(ch.Chain)
			for _, r := range ch.rules {
				conn.AddRule(&nftables.Rule{Table: t.Table, Chain: ch.Chain, Exprs: r.exprs})
			}
		}
	}
	if err := conn.Flush(); errors.Is(err, fs.ErrExist) {
		return ErrInForce
	} else if err != nil {
		return fmt.Errorf("put the rules into the firewall: %w", hint(err))
	}
	return nil
}

// ours returns those of our tables that are in the kernel.
func ours(conn *nftables.Conn) ([]*nftables.Table, error) {
	var found []*nftables.Table
	for _, family := range []nftables.TableFamily{nftables.TableFamilyINet, nftables.TableFamilyNetdev} {
		t, err := conn.ListTableOfFamily(tableName, family)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, fmt.Errorf("look for the table %s: %w", tableName, hint(err))
		default:
			found = append(found, t)
		}
	}
	return found, nil
}

// InForce returns for how long the cut that is in the kernel still drops something; 0: there
// is none, or its time is over.
func InForce() (time.Duration, error) {
	conn, err := nftables.New()
	if err != nil {
		return 0, fmt.Errorf("reach the firewall: %w", hint(err))
	}
	tables, err := ours(conn)
	if err != nil {
		return 0, err
	}
	var left time.Duration
	for _, t := range tables {
		sets, err := conn.GetSets(t)
		if err != nil {
			return 0, fmt.Errorf("list the sets of the table %s: %w", tableName, err)
		}
		for _, s := range sets {
			elements, err := conn.GetSetElements(s)
			if err != nil {
				return 0, fmt.Errorf("list the set %s: %w", s.Name, err)
			}
			for _, e := range elements {
				left = max(left, e.Expires)
			}
		}
	}
	return left, nil
}

// End removes our tables: a cut that is in force ends at once.
func End() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("reach the firewall: %w", hint(err))
	}
	tables, err := ours(conn)
	if err != nil || len(tables) == 0 {
		return err
	}
	for _, t := range tables {
		conn.DelTable(t)
	}
	if err := conn.Flush(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the table %s: %w", tableName, hint(err))
	}
	return nil
}

// hint adds the remedy to the errors that have one.
func hint(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: run this as root", err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("%w: this kernel lacks a part of nf_tables; ARP needs Linux 5.16", err)
	}
	return err
}

// span writes a duration as nft does.
func span(d time.Duration) string {
	var text strings.Builder
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if n := d / unit.length; n > 0 {
			fmt.Fprintf(&text, "%d%s", n, unit.name)
			d %= unit.length
		}
	}
	return text.String()
}
