package config

import (
	"slices"

	"github.com/solovip/solovip/config/syntax"
)

// trackDraft is an entry of track_script or track_interface before it is known what it
// names.
type trackDraft struct {
	Track
	word    syntax.Word
	reverse bool // reverse or noreverse is written here
}

// readTracks reads the entries of track_script or track_interface: NAME [weight W
// [reverse|noreverse]]. keepalived drops an entry that it cannot read.
func (l *loader) readTracks(block *syntax.Node, list []trackDraft) []trackDraft {
	what := block.Keyword()
	for _, n := range l.good(block) {
		t := trackDraft{word: n.Words[0]}
		t.Name, t.Pos = t.word.Text, t.word.Pos
		if slices.ContainsFunc(list, func(o trackDraft) bool { return o.Name == t.Name }) {
			l.warn(t.word, "take one of the two out", "%s %s is there twice: the first one is used", what, quote(t.Name))
			continue
		}
		if l.trackOptions(&t, what, n.Args()) {
			list = append(list, t)
		}
	}
	return list
}

// trackOptions reads what stands behind the name of an entry. It returns false when
// keepalived drops the entry over it.
func (l *loader) trackOptions(t *trackDraft, what string, args []syntax.Word) bool {
	if len(args) == 0 {
		return true
	}
	if args[0].Text != "weight" || len(args) == 1 {
		remedy := "write NAME weight NUMBER, each entry on a line of its own"
		l.warn(args[0], remedy, "%s %s: keepalived drops the entry over %s", what, t.Name, quote(args[0].Text))
		return false
	}
	if v, ok := l.number(Warning, "weight", args[1], -253, 253, "it is ignored"); ok {
		t.Weight, t.HasWeight = v, true
	}
	for _, w := range args[2:] {
		switch w.Text {
		case "reverse", "noreverse":
			t.Reverse, t.reverse = w.Text == "reverse", true
		default:
			l.warn(w, didYouMean(w.Text, []string{"reverse", "noreverse"}), "weight takes no %s: it is ignored", quote(w.Text))
		}
	}
	return true
}

// finishTracks keeps the entries that have an effect. keepalived drops those whose script
// does not exist or cannot be run, the instance's own interface, and, for an address owner
// and in a sync group, those with a weight: their priority must not move.
func (l *loader) finishTracks(d *draft) {
	fixed := ""
	if d.Priority == 255 {
		fixed = "an address owner (priority 255)"
	} else if g := l.groupOf(d.Name); g != nil && !g.weighted {
		fixed = "a member of a sync group without sync_group_tracking_weight"
	}
	for _, t := range d.scripts {
		i := slices.IndexFunc(l.cfg.Scripts, func(s Script) bool { return s.Name == t.Name })
		if i < 0 {
			var names []string
			for _, s := range l.cfg.Scripts {
				names = append(names, s.Name)
			}
			l.warn(t.word, didYouMean(t.Name, names), "there is no vrrp_script %s: the entry is ignored", quote(t.Name))
			continue
		}
		s := l.cfg.Scripts[i]
		if !l.scripts[t.Name] {
			continue // told at the script
		}
		if !t.HasWeight {
			t.Weight = s.Weight
		}
		if !t.reverse {
			t.Reverse = s.Reverse
		}
		if t.Weight != 0 && fixed != "" {
			l.warn(t.word, "track it without a weight, so that its failure is FAULT", "the priority of %s does not move: the script %s has no effect", fixed, quote(t.Name))
			continue
		}
		d.TrackScripts = append(d.TrackScripts, t.Track)
	}
	for _, t := range d.ifaces {
		switch {
		case t.Name == d.Interface && !d.NoTrackLink:
			l.warn(t.word, "take it out", "the instance tracks its own interface %s anyway: the entry is ignored", t.Name)
			continue
		case t.Weight != 0 && d.Priority == 255:
			l.warn(t.word, "track it without a weight, so that its failure is FAULT", "the priority of %s does not move: the entry is ignored", fixed)
			continue
		case t.Weight != 0 && fixed != "":
			l.warn(t.word, "track it without a weight", "the priority of %s does not move: the weight is ignored, and the interface down is FAULT", fixed)
			t.Weight, t.Reverse, t.HasWeight = 0, false, false
		}
		d.TrackIfaces = append(d.TrackIfaces, t.Track)
	}
}
