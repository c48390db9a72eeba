package config

import (
	"slices"

	"github.com/solovip/solovip/config/syntax"
)

// groupDraft is a sync group with the words of its members.
type groupDraft struct {
	SyncGroup
	name     syntax.Word
	members  []syntax.Word
	weighted bool // sync_group_tracking_weight
}

// readGroup reads a vrrp_sync_group. Its members may stand on lines of their own or beside
// each other.
func (l *loader) readGroup(block *syntax.Node) {
	g := groupDraft{name: block.Args()[0]}
	g.Name, g.Pos = g.name.Text, g.name.Pos
	if slices.ContainsFunc(l.groups, func(o groupDraft) bool { return o.Name == g.Name }) {
		l.warn(g.name, "rename one of the two, or take it out", "vrrp_sync_group %s is defined twice: the second one is ignored", quote(g.Name))
		return
	}
	for _, n := range l.good(block) {
		switch n.Keyword() {
		case "group":
			for _, c := range l.good(n) {
				g.members = append(g.members, c.Words...)
			}
		case "sync_group_tracking_weight":
			g.weighted = true
		default:
			l.readHooks(&g.Notify, n)
		}
	}
	var names []string
	for _, d := range l.drafts {
		names = append(names, d.Name)
	}
	for _, m := range g.members {
		switch other := l.groupOf(m.Text); {
		case !slices.Contains(names, m.Text):
			l.warn(m, didYouMean(m.Text, names), "there is no vrrp_instance %s: it is left out of the group", quote(m.Text))
		case slices.Contains(g.Instances, m.Text):
			l.warn(m, "take one of the two out", "%s is in the group twice", quote(m.Text))
		case other != nil:
			l.warn(m, "an instance can be in one group", "%s is in the group %s already: it is left out of this one", quote(m.Text), quote(other.Name))
		default:
			g.Instances = append(g.Instances, m.Text)
		}
	}
	switch len(g.Instances) {
	case 0:
		l.warn(g.name, "write group { ... } with the instances that move together", "vrrp_sync_group %s has no instance: it is removed", quote(g.Name))
		return
	case 1:
		l.warn(g.name, "add the instances that move with it, or take the group out", "vrrp_sync_group %s has only one instance", quote(g.Name))
	}
	l.groups = append(l.groups, g)
	l.cfg.SyncGroups = append(l.cfg.SyncGroups, g.SyncGroup)
}

// groupOf returns the sync group that an instance is in, or nil.
func (l *loader) groupOf(instance string) *groupDraft {
	for i := range l.groups {
		if slices.Contains(l.groups[i].Instances, instance) {
			return &l.groups[i]
		}
	}
	return nil
}
