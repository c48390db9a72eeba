package lvs

import "net/netip"

// Action is an effect that the shell has to bring about, in the order given.
//
//sumtype:decl
type Action interface{ action() }

type (
	// ReadKernel asks for what the kernel has, after all steps so far are carried out.
	// Kernel or KernelFailed follows.
	ReadKernel struct{ ID uint64 }
	// Apply changes the kernel's state, step by step. When a step about a service fails,
	// the steps about others are carried out all the same. Applied follows.
	Apply struct{ Steps []Step }
	// StartCheck starts a check that may be made; Checked brings its results.
	StartCheck struct{ Check CheckID }
	// StopCheck ends a check. Results that come later are ignored.
	StopCheck struct{ Check CheckID }
	// Notify runs a script; those of a virtual server run one after the other, in order.
	Notify struct {
		What   Notification
		Server string
		Real   netip.AddrPort // with RealUp and RealDown
	}
	// StoreOverrides makes the overrides durable: these and no others.
	StoreOverrides struct{ All []StoredOverride }
	// Respond answers an operator. Err is empty or says why it was not done.
	Respond struct {
		ID        uint64
		Text, Err string
	}
	// Tell is a line for the log: what happened to a server, and why.
	Tell struct {
		Warning   bool
		Name      string // the server it is about, or empty
		Text, Why string
	}
	// Stopped is the last action: everything is undone as far as it is to be.
	Stopped struct{}
)

func (ReadKernel) action()     {}
func (Apply) action()          {}
func (StartCheck) action()     {}
func (StopCheck) action()      {}
func (Notify) action()         {}
func (StoreOverrides) action() {}
func (Respond) action()        {}
func (Tell) action()           {}
func (Stopped) action()        {}

// Notification is what a script is told.
type Notification uint8

// The notifications, by the keywords of their scripts.
const (
	RealUp     Notification = iota // notify_up
	RealDown                       // notify_down
	QuorumUp                       // quorum_up
	QuorumDown                     // quorum_down
)

// String returns the keyword of the script.
func (n Notification) String() string {
	return [...]string{"notify_up", "notify_down", "quorum_up", "quorum_down"}[n]
}
