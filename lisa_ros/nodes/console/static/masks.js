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

// Whether two lists of runs are equal.
export function sameRuns(some, others) {
  return some.length === others.length && some.every((run, i) => run === others[i]);
}

// A canvas with the mask tinted, hatched in a direction of its own (colour is not the only sign) and outlined, and
// the pixel of the image at its upper left corner: it is no larger than the mask.
export function paint(pixels, width, height, number) {
  const [left, top, right, bottom] = extent(pixels, width);
  const canvas = document.createElement("canvas");
  canvas.width = right - left;
  canvas.height = bottom - top;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const out = new DataView(image.data.buffer);
  const [red, green, blue] = COLOURS[colourOf(number)];
  const colour = ((red << 24) | (green << 16) | (blue << 8)) >>> 0;
  const thick = Math.max(1, Math.round(Math.max(width, height) / 400));
  const period = 8 * thick;
  const [across, down] = [[1, 1], [1, -1], [1, 0], [0, 1]][number % 4];
  for (let y = top, at = 0; y < bottom; y++) {
    for (let x = left; x < right; x++, at += 4) {
      if (!pixels[y * width + x]) continue;
      const edge = borders(pixels, width, height, x, y, thick);
      const hatched = (across * x + down * y + period * height) % period < thick;
      out.setUint32(at, colour + (edge ? 255 : hatched ? 150 : 100));
    }
  }
  context.putImageData(image, 0, 0);
  return { canvas, left, top };
}

// Left, top, right and bottom of the pixels inside; of none one pixel.
function extent(pixels, width) {
  const [first, last] = [pixels.indexOf(1), pixels.lastIndexOf(1)];
  if (first < 0) return [0, 0, 1, 1];
  const [top, bottom] = [Math.floor(first / width), Math.floor(last / width) + 1];
  let [left, right] = [width, 0];
  for (let y = top; y < bottom; y++) {
    const row = pixels.subarray(y * width, (y + 1) * width);
    const begin = row.indexOf(1);
    if (begin < 0) continue;
    left = Math.min(left, begin);
    right = Math.max(right, row.lastIndexOf(1) + 1);
  }
  return [left, top, right, bottom];
}

function borders(pixels, width, height, x, y, thick) {
  const at = y * width + x;
  if (x < thick || y < thick || x >= width - thick || y >= height - thick) return true;
  return !(pixels[at - thick] && pixels[at + thick] && pixels[at - thick * width] && pixels[at + thick * width]);
}
