// SPDX-License-Identifier: Apache-2.0
// Masks: from runs to bitmaps, and as something that can be drawn.

// The same as lisa_ros/segmentation/overlay.py.
export const COLOURS = [[255, 0, 200], [0, 230, 230], [150, 255, 0], [255, 176, 0], [120, 90, 255], [255, 80, 80]];

export function colourOf(number) {
  return (number - 1) % COLOURS.length;
}

// Runs (outside, inside, outside ...) in row-major order -> one byte a pixel, 0 or 1.
export function bitmap(runs, width, height) {
  const pixels = new Uint8Array(width * height);
  let at = 0;
  runs.forEach((run, i) => {
    if (i % 2) pixels.fill(1, at, at + run);
    at += run;
  });
  return pixels;
}

// A canvas with the mask tinted, hatched in a direction of its own (colour is not the only sign) and outlined.
export function paint(pixels, width, height, number) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const [red, green, blue] = COLOURS[colourOf(number)];
  const thick = Math.max(1, Math.round(Math.max(width, height) / 400));
  const period = 8 * thick;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!pixels[i]) continue;
      const edge = borders(pixels, width, height, x, y, thick);
      const across = [x + y, x - y + period * height, x, y][number % 4] % period < thick;
      const alpha = edge ? 255 : across ? 150 : 100;
      image.data.set([red, green, blue, alpha], 4 * i);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function borders(pixels, width, height, x, y, thick) {
  const inside = (u, v) => u >= 0 && v >= 0 && u < width && v < height && pixels[v * width + u];
  return !inside(x - thick, y) || !inside(x + thick, y) || !inside(x, y - thick) || !inside(x, y + thick);
}
