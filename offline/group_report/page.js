
"use strict";
const cards = Array.from(document.querySelectorAll(".card"));
const texts = cards.map((card) => card.textContent.toLowerCase());
const search = document.getElementById("search");
const found = document.getElementById("found");
const show = () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  cards.forEach((card, place) => {
    const code = card.id.slice(2);
    const fits = words.every((word) => code === word || texts[place].includes(word));
    card.hidden = !fits;
    shown += fits ? 1 : 0;
  });
  found.textContent = words.length ? ` ${shown} of ${cards.length} groups` : "";
};
const open = () => {
  const card = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (card && card.classList.contains("card")) card.open = true;
};
search.closest("[hidden]").hidden = false;
search.addEventListener("input", show);
window.addEventListener("hashchange", open);
open();
