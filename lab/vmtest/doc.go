// Package vmtest runs Go tests in a virtual machine of package vm.
//
// An ordinary test runs inside when its body is handed to [Test]; all tests of a package that
// name the same [Shared] machine have one boot of it. What a host has to have for that, and has
// not, skips them: see [Missing].
//
// It refuses to be part of a program: it is for tests alone.
//
// Start reading at [Test].
package vmtest
