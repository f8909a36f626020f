(function () {
  "use strict";
  var tip = document.getElementById("tip"), shown = null;
  function add(parent, name, text) {
    var element = document.createElement(name);
    element.textContent = text;
    parent.appendChild(element);
    return element;
  }
  function percent(p) {
    if (p >= 0.1) return (p * 100).toFixed(1) + " %";
    if (p >= 0.01) return (p * 100).toFixed(2) + " %";
    if (p >= 0.00001) return (p * 100).toFixed(3) + " %";
    return p.toExponential(1);
  }
  function row(list, text, p, own) {
    var item = add(list, "li", "");
    if (own) item.className = "own";
    add(item, "code", text);
    add(item, "em", percent(p)).style.setProperty("--p", (p * 100).toFixed(1) + "%");
  }
  function fill(d) {
    var id = d[0], text = d[1], p = d[2], bits = d[3], rank = d[4], top = d[5];
    tip.textContent = "";
    add(tip, "b", text);
    add(tip, "small", "token " + id + ", " + bits.toFixed(2) + " bits, rank " + rank);
    var list = add(tip, "ol", "");
    top.forEach(function (other, i) { row(list, other[0], other[1], i + 1 === rank); });
    if (rank > top.length) row(list, text, p, true);
  }
  function place(span) {
    var boxes = span.getClientRects(), box = boxes[0], last = boxes[boxes.length - 1];
    var width = document.documentElement.clientWidth, height = window.innerHeight;
    var left = Math.max(8, Math.min(box.left, width - tip.offsetWidth - 8));
    var below = last.bottom + 6, above = box.top - tip.offsetHeight - 6;
    tip.style.left = left + "px";
    tip.style.top = (below + tip.offsetHeight > height ? Math.max(8, above) : below) + "px";
  }
  function show(span) {
    if (shown) shown.classList.remove("on");
    shown = span;
    tip.hidden = !span;
    if (!span) return;
    span.classList.add("on");
    fill(JSON.parse(span.getAttribute("data-d")));
    place(span);
  }
  function over(event) {
    show(event.target.closest ? event.target.closest("[data-d]") : null);
  }
  document.addEventListener("mouseover", over);
  document.addEventListener("click", over);
  document.addEventListener("scroll", function () { show(null); }, { passive: true });
  document.addEventListener("keydown", function (event) { if (event.key === "Escape") show(null); });
})();
