package vip

import (
	"math"
	"net/netip"
	"testing"
	"time"
)

func TestValidSeconds(t *testing.T) {
	tests := []struct {
		name     string
		lifetime time.Duration
		want     int
		wantErr  bool
	}{
		{"forever", 0, 0, false},
		{"never less than asked", time.Millisecond, 1, false},
		{"whole", 3 * time.Second, 3, false},
		{"rounded up", 2800 * time.Millisecond, 3, false},
		{"a deadline that has passed is not forever", -time.Millisecond, 0, true},
		{"too long for the kernel", math.MaxInt64, math.MaxInt32, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := validSeconds(test.lifetime)
			if got != test.want || (err != nil) != test.wantErr {
				t.Errorf("validSeconds(%s) = %d, %v", test.lifetime, got, err)
			}
		})
	}
}

func TestAddressValidate(t *testing.T) {
	good := Address{Prefix: netip.MustParsePrefix("10.0.0.10/24"), Interface: "eth0"}
	if err := good.validate(); err != nil {
		t.Errorf("good address: %v", err)
	}
	tests := []struct {
		name   string
		change func(*Address)
	}{
		{"no address", func(a *Address) { a.Prefix = netip.Prefix{} }},
		{"IPv6", func(a *Address) { a.Prefix = netip.MustParsePrefix("2001:db8::1/64") }},
		{"no interface", func(a *Address) { a.Interface = "" }},
		{"label too long", func(a *Address) { a.Label = "eth0:0123456789a" }},
		{"IPv6 broadcast", func(a *Address) { a.Broadcast = netip.MustParseAddr("::1") }},
		{"unknown scope", func(a *Address) { a.Scope = "universe" }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := good
			test.change(&a)
			if err := a.validate(); err == nil {
				t.Errorf("accepted %+v", a)
			}
		})
	}
}
