// One player at a time; within a text the next one goes on where the last one was, so that the same moment can be
// heard in both.
for (const player of document.querySelectorAll("audio")) {
  player.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) {
      if (other === player || other.paused) continue;
      if (other.closest(".text") === player.closest(".text")) player.currentTime = other.currentTime;
      other.pause();
    }
  });
}
