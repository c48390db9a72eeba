// Zoom and a cursor for the timelines. Without this script they stand still, and are whole.
"use strict";
const prepare = (chart) => {
	const end = Number(chart.dataset.end), zero = Number(chart.dataset.zero), from = Number(chart.dataset.from);
	const lanes = [...chart.querySelectorAll("svg.lane")];
	const ticks = chart.querySelector(".ticks"), at = chart.querySelector(".at");
	const shortest = 20; // ms
	let left = from, width = end - from;

	for (const hidden of chart.querySelectorAll("[hidden]")) hidden.hidden = false;

	const show = (newLeft, newWidth) => {
		width = Math.min(Math.max(newWidth, shortest), end);
		left = Math.min(Math.max(newLeft, 0), end - width);
		for (const lane of lanes) lane.setAttribute("viewBox", `${left} 0 ${width} 16`);
		rule();
	};
	// zoom brings the instant that is at one share of the width to another one.
	const zoom = (factor, share = 0.5, to = share) => {
		const instant = left + share * width, wanted = Math.min(Math.max(width * factor, shortest), end);
		show(instant - to * wanted, wanted);
	};
	const rule = () => {
		const room = Math.max(ticks.clientWidth, 1) / 70;
		let step = 1;
		for (let i = 0; step < width / room; i++) step *= [2, 2.5, 2][i % 3]; // 1, 2, 5, 10, ...
		const digits = Math.max(0, 3 - Math.floor(Math.log10(step)));
		ticks.replaceChildren();
		for (let t = Math.ceil((left - zero) / step) * step; t <= left + width - zero; t += step) {
			const tick = document.createElement("span");
			tick.style.left = `${100 * (t + zero - left) / width}%`;
			tick.textContent = (t / 1000).toFixed(Math.min(digits, 3));
			ticks.append(tick);
		}
	};
	// point says what was so at an instant.
	const point = (t) => {
		const said = [];
		for (const lane of lanes) {
			let line = lane.querySelector(".cursor");
			if (!line) {
				line = document.createElementNS("http://www.w3.org/2000/svg", "line");
				line.setAttribute("class", "cursor");
				line.setAttribute("y1", 0);
				line.setAttribute("y2", 16);
				lane.append(line);
			}
			line.setAttribute("x1", t);
			line.setAttribute("x2", t);
			let top = null; // the last one covers the others
			for (const bar of lane.querySelectorAll("rect")) {
				const x = bar.x.baseVal.value;
				if (x <= t && t <= x + bar.width.baseVal.value) top = bar;
			}
			if (top) said.push(top.querySelector("title").textContent.replace(/, [^,]*$/, ""));
		}
		const seconds = ((t - zero) / 1000).toFixed(3);
		at.textContent = `${t < zero ? "" : "+"}${seconds} s: ${said.join("; ") || "nothing"}`;
	};
	const share = (x) => {
		const box = lanes[0].getBoundingClientRect();
		return Math.min(Math.max((x - box.left) / box.width, 0), 1);
	};
	const deeds = {
		in: () => zoom(0.5), out: () => zoom(2),
		left: () => show(left - width / 4, width), right: () => show(left + width / 4, width),
		reset: () => show(from, end - from), all: () => show(0, end),
	};
	const keys = { "+": "in", "=": "in", "-": "out", ArrowLeft: "left", ArrowRight: "right", "0": "reset" };

	for (const button of chart.querySelectorAll("button")) button.addEventListener("click", deeds[button.dataset.do]);
	chart.addEventListener("keydown", (e) => {
		if (e.target !== chart || e.ctrlKey || e.metaKey || e.altKey || !(e.key in keys)) return;
		deeds[keys[e.key]]();
		e.preventDefault();
	});
	chart.addEventListener("wheel", (e) => {
		if (e.ctrlKey || e.metaKey) zoom(Math.exp(e.deltaY / 300), share(e.clientX));
		else if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) show(left + width * (e.deltaX || e.deltaY) / 800, width);
		else return; // the page scrolls
		e.preventDefault();
	}, { passive: false });

	// One pointer moves, two zoom; one that hardly moves points.
	const down = new Map();
	let moved = 0, pinch = null;
	const spread = () => {
		const [a, b] = [...down.values()];
		return { apart: Math.max(Math.abs(a - b), 10), middle: share((a + b) / 2) };
	};
	for (const lane of lanes) {
		lane.addEventListener("pointerdown", (e) => {
			down.set(e.pointerId, e.clientX);
			lane.setPointerCapture(e.pointerId);
			if (down.size === 1) moved = 0;
			if (down.size === 2) pinch = spread();
		});
		lane.addEventListener("pointermove", (e) => {
			if (!down.has(e.pointerId)) return;
			const by = e.clientX - down.get(e.pointerId);
			down.set(e.pointerId, e.clientX);
			moved += Math.abs(by);
			if (down.size === 1) show(left - by * width / lane.getBoundingClientRect().width, width);
			if (down.size === 2) {
				const now = spread();
				zoom(pinch.apart / now.apart, pinch.middle, now.middle);
				pinch = now;
			}
		});
		for (const type of ["pointerup", "pointercancel"]) {
			lane.addEventListener(type, (e) => {
				if (!down.delete(e.pointerId) || type === "pointercancel") return;
				if (down.size === 0 && moved < 4) point(left + share(e.clientX) * width);
			});
		}
	}
	new ResizeObserver(rule).observe(ticks);
	show(left, width);
};
// A page may have hundreds of runs: what is folded waits until somebody looks.
for (const run of document.querySelectorAll(".run")) {
	const chart = run.querySelector(".chart");
	if (!chart) continue;
	if (run.open) prepare(chart);
	else run.addEventListener("toggle", () => prepare(chart), { once: true });
}
// A link to a run unfolds it.
const unfold = () => {
	const run = location.hash && document.getElementById(location.hash.slice(1));
	if (run && run.tagName === "DETAILS") { run.open = true; run.scrollIntoView(); }
};
addEventListener("hashchange", unfold);
unfold();
