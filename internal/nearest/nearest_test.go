package nearest_test

import (
	"testing"

	"github.com/solovip/solovip/internal/nearest"
)

func TestWord(t *testing.T) {
	names := []string{"virtual_ipaddress", "virtual_router_id", "priority", "state"}
	tests := []struct{ word, want string }{
		{"virtual_ipadress", "virtual_ipaddress"},
		{"Virtual_IPaddress", "virtual_ipaddress"},
		{"priorty", "priority"},
		{"prioirty", "priority"},
		{"stat", "state"},
		{"interface", ""},
		{"", ""},
	}
	for _, tt := range tests {
		if got := nearest.Word(tt.word, names); got != tt.want {
			t.Errorf("Word(%q) = %q, want %q", tt.word, got, tt.want)
		}
	}
}
