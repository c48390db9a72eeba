// Package deploy holds what an operator installs: units for systemd and sample configurations for
// usual set-ups. It has no code but the tests that load every sample.
//
// It refuses to be a packaging system: README.md beside it says what goes where.
package deploy
